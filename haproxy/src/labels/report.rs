//! The Issues of one app, bounded.
//!
//! Filled by `parse`. However many labels are wrong, an app gets at most [`MOST`] Issues and one
//! that counts the rest; what takes a port out of service comes first, so it is never the rest.

use std::fmt;

use crate::app::AppId;
use crate::issue::Issue;

/// Collects Issues.
#[derive(Debug)]
pub(super) struct Report<'a> {
    app: &'a AppId,
    grave: Vec<Issue>,
    minor: Vec<Issue>,
    dropped: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(app: &'a AppId) -> Self {
        Self { app, grave: Vec::new(), minor: Vec::new(), dropped: 0 }
    }

    /// A port goes out of service.
    pub(super) fn grave(&mut self, label: &str, problem: impl fmt::Display) {
        if self.grave.len() < MOST {
            self.grave.push(Issue::label(self.app, label, problem.to_string()));
        } else {
            self.dropped += 1;
        }
    }

    /// A label, or a part of one, is not used. The text is only made when there is room for it.
    pub(super) fn minor(&mut self, label: &str, problem: impl fmt::Display) {
        if self.minor.len() < MOST {
            self.minor.push(Issue::label(self.app, label, problem.to_string()));
        } else {
            self.dropped += 1;
        }
    }

    pub(super) fn finish(self) -> Vec<Issue> {
        let Self { app, grave: mut issues, minor, mut dropped } = self;
        let room = MOST - issues.len();
        dropped += minor.len().saturating_sub(room);
        issues.extend(minor.into_iter().take(room));
        if dropped > 0 {
            issues.push(Issue::app(app, format!("… and {dropped} more label problems")));
        }
        issues
    }
}

/// The most Issues that name a label.
pub(super) const MOST: usize = 50;
