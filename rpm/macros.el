# What Debian's rpm lacks and EL's systemd-rpm-macros and redhat-rpm-config give. Loaded by build.sh where
# they are missing.
%_unitdir            /usr/lib/systemd/system
%_presetdir          /usr/lib/systemd/system-preset
%_sysctldir          /usr/lib/sysctl.d
%_sysusersdir        /usr/lib/sysusers.d
%_tmpfilesdir        /usr/lib/tmpfiles.d
%_prefix             /usr
%_libexecdir         /usr/libexec
%_mandir             /usr/share/man
%_sharedstatedir     /var/lib
%_localstatedir      /var
%_rundir             /run
%_vendor             redhat
%_host_vendor        redhat
