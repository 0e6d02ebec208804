# How each package is built and signed. Sourced by build.sh, sources.sh and the tests, with root set, and work for what
# builds.
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")

# A tar file that depends on nothing but names and contents.
pack=(tar --sort=name --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw --mtime=@1)

package() {
    local name=$1
    shift
    local top=${RPM_TOP:-$work}
    mkdir -p "$top/SPECS"
    # The versions are in the spec: the source package holds it, and not what is defined below.
    {
        echo "%global baton_version $version"
        [ "$name" != baton-haproxy ] || cat "$work/haproxy/head"
        cat "$root/rpm/$name.spec"
    } >"$top/SPECS/$name.spec"
    # Not both at once (-ba): a package would then name its source package by a digest, and that one holds the spec as
    # it was understood, with the paths of this directory.
    local stage
    for stage in ${RPM_STAGE:--bs -bb}; do
        PATH="$work/venv/bin:$PATH" rpmbuild --load="$root/rpm/macros.baton" --nodeps "$stage" --define "_topdir $top" --define "_builddir $top/BUILD/$name" \
            --define "baton_tools $(tr '\n' ' ' <"$root/rpm/requirements.txt")" "$@" "$top/SPECS/$name.spec"
    done
}

haproxy() {
    package baton-haproxy --define "baton_cc $work/bin/zcc" --define "baton_ar $work/bin/zar" --define "baton_ranlib $work/bin/zranlib"
}

daemon() {
    local target=x86_64-unknown-linux-gnu
    package baton --define "baton_cargo cargo zigbuild --target $target.2.17" --define "baton_target_dir $work/target" \
        --define "baton_output $work/target/$target/release" "$@"
}

selinux() {
    package baton-selinux
}

key() {
    if [ -z "${RPM_KEY:-}" ]; then
        export GNUPGHOME=$work/gnupg RPM_KEY="baton build"
        if [ ! -d "$GNUPGHOME" ]; then
            mkdir -m 700 "$GNUPGHOME"
            # RSA: rpm 4.11 (EL7) knows no Ed25519.
            printf '%%no-protection\nKey-Type: RSA\nKey-Length: 3072\nName-Real: %s\nExpire-Date: 0\n%%commit\n' "$RPM_KEY" | gpg --batch --gen-key
        fi
    fi
}
