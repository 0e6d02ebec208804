//! `docs/labels.md` is what the label table says.

use std::path::Path;

use haproxy::labels::docs::markdown;

#[test]
fn the_committed_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/labels.md");
    let page = markdown();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "docs/labels.md is stale: UPDATE=1 cargo test -p haproxy --test labels_doc");
}
