//! The operator's page about labels, `docs/labels.md`, made from the table.
//!
//! The committed page is compared with this by a test, which rewrites it with `UPDATE=1`.

use std::fmt::Write as _;

use super::bind::{Argument, KEYWORDS};
use super::table::{BIND_OPTIONS, Empty, Label, Scope, TABLE};
use super::templates::TEMPLATES;

/// The whole page.
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (heading, scope) in [("For the whole app", Scope::App), ("For one port", Scope::Port)] {
        let labels = || TABLE.iter().filter(|label| label.scope() == scope);
        line(
            &mut page,
            format_args!("\n## {heading}\n\n| label | value | without it | a bad value |\n|---|---|---|---|"),
        );
        for label in labels() {
            let cost = if label.fails_closed() { "**port out of service**" } else { label.cost() };
            let cells = [format!("[`{}`](#{})", key(label), anchor(label)), label.kind.into(), label.default.into()];
            line(&mut page, format_args!("| {} | {cost} |", cells.join(" | ")));
        }
        labels().for_each(|label| section(&mut page, label));
    }
    line(&mut page, format_args!("\n{TEMPLATE_TEXT}"));
    for template in TEMPLATES.iter().filter(|template| template.by_label) {
        line(&mut page, format_args!("* `HAPROXY_{{n}}_{}`", template.name));
    }
    page
}

fn section(page: &mut String, label: &Label) {
    let empty = match label.empty {
        Empty::Absent => "as if the label were not there",
        Empty::False => "false",
        Empty::Bad => "a bad value",
    };
    line(page, format_args!("\n### {}\n\n{}\n", key(label), label.effect));
    line(page, format_args!("* Accepted: {}.", escaped(label.accepts)));
    line(page, format_args!("* Without it: {}. Empty: {empty}.", label.default));
    line(page, format_args!("* A bad value: {}.", label.cost()));
    line(page, format_args!("* Example: `\"{}\": \"{}\"`", key(label).replace("{n}", "0"), label.example));
    if label.name == BIND_OPTIONS {
        line(page, format_args!("\n| keyword | value |\n|---|---|"));
        for keyword in KEYWORDS {
            line(page, format_args!("| `{}` | {} |", keyword.name, value_of(keyword.argument)));
        }
    }
}

/// What a keyword takes or means.
fn value_of(argument: Argument) -> String {
    match argument {
        Argument::Nothing => "–".to_owned(),
        Argument::Versions(None, None) => "– (always so)".to_owned(),
        Argument::Versions(least, greatest) => {
            let limits = [("ssl-min-ver", least), ("ssl-max-ver", greatest)];
            let words = limits.iter().filter_map(|(name, limit)| limit.map(|v| format!("`{name} {}`", v.name())));
            format!("–, read as {}", words.collect::<Vec<_>>().join(" "))
        }
        argument => escaped(&argument.describe()),
    }
}

fn key(label: &Label) -> String {
    match label.scope() {
        Scope::App => format!("HAPROXY_{}", label.name),
        Scope::Port => format!("HAPROXY_{{n}}_{}", label.name),
    }
}

/// The anchor that forges make of the heading: lower case, braces dropped.
fn anchor(label: &Label) -> String {
    key(label).to_ascii_lowercase().replace(['{', '}'], "")
}

/// Text with characters in it that Markdown would take for its own.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '_' | '|' | '\\' | '[' | ']' | '~' | '#') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "{text}");
}

const INTRODUCTION: &str = "\
<!-- Generated from haproxy/src/labels/table.rs: UPDATE=1 cargo test -p haproxy --test labels_doc -->

# Labels

What the owner of a Marathon app writes into its labels to be served. The names are those of marathon-lb.

* `HAPROXY_{n}_NAME` is for port n of the app, counted from 0 in the order of its port definitions, without leading
  zeros. `HAPROXY_NAME` is for the app as a whole. Labels that do not begin with `HAPROXY_` are nobody's business here.
* Values are text. Blanks and tabs around a value do not count. Control characters (a newline, say), no-break spaces and
  the like are never part of a good value.
* A mistake never affects another app. It costs the label it is in, or the part of a list it is in, and is reported as an
  issue that names the app, the label, the text and what is accepted.
* Seven labels **fail closed**: `AUTH`, `BACKEND_NETWORK_ALLOWED_ACL`, `SSL_CERT`, `BIND_ADDR`, `BIND_OPTIONS`, `GROUP`
  and `ENABLED`. A mistake in one of them takes the port out of service until it is mended, because serving the port
  without it would open something up.
* An empty value counts as if the label were not there, as it did with marathon-lb, so that a deployment template may
  write every label of every app. Two kinds differ: an empty boolean is false, as it was, and an empty `GROUP`, `AUTH` or
  `BACKEND_NETWORK_ALLOWED_ACL` is a mistake and fails closed, because a template that lost its value must not let
  everybody in.
* Unknown `HAPROXY_` names and indexes that the app has no port for are reported and ignored.
* An app gets at most 50 issues about its labels and one that counts the others; those about ports out of service come
  first.
";

const TEMPLATE_TEXT: &str = "\
## Templates

marathon-lb lets labels replace its templates. These labels are recognised but not applied yet: the built-in template is
used and an issue says so.
";
