//! keepalived's configuration, translated into Baton's.
//!
//! Called by `baton import keepalived`. `read` follows includes, `parse` makes blocks of lines,
//! `translate` makes routers of blocks and `print` writes them. Nothing is dropped in silence: each
//! line that says something is translated or becomes a [`Note`]. Reads files, changes nothing.

mod address;
mod command;
mod glob;
mod group;
mod instance;
mod known;
mod notes;
mod parse;
mod print;
mod read;
mod script;
mod translate;
mod value;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use notes::{Kind, Note};
pub use read::ReadError;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What became of a configuration.
#[derive(Debug)]
pub struct Import {
    /// The configuration for Baton, notes and all.
    pub toml: String,
    /// Everything that is not, or not exactly, in it.
    pub notes: Vec<Note>,
    /// The routers in it, without those that are commented out.
    pub routers: usize,
}

/// Translates `file` and what it includes; `id` is what keepalived was started with as `-i`.
///
/// # Errors
/// When `file` itself cannot be read. Whatever is wrong inside becomes a note.
pub fn import(file: &Path, id: Option<&str>) -> Result<Import, ReadError> {
    let mut ledger = notes::Ledger::default();
    let lines = read::read(file, id, &mut ledger)?;
    let statements = parse::parse(&lines, &mut ledger);
    let routers = translate::translate(&statements, &mut ledger);
    for line in &lines {
        ledger.account(&line.place, &line.text);
    }
    let notes = ledger.finish();
    let toml = print::print(&file.display().to_string(), &routers, &notes);
    Ok(Import { toml, notes, routers: routers.iter().filter(|router| router.off.is_none()).count() })
}
