//! The issues of one app while it is read; a thousand alike become a few and a count.

use haproxy::issue::Issue;

/// Collects issues about one app.
pub(super) struct Notes<'a> {
    app: String,
    issues: &'a mut Vec<Issue>,
    left_out: usize,
    room: usize,
}

impl<'a> Notes<'a> {
    pub(super) fn new(app: impl Into<String>, issues: &'a mut Vec<Issue>) -> Self {
        Self { app: app.into(), issues, left_out: 0, room: MOST }
    }

    /// Adds a problem of the app.
    pub(super) fn add(&mut self, problem: impl Into<String>) {
        if self.room == 0 {
            self.left_out += 1;
        } else {
            self.room -= 1;
            self.issues.push(Issue::app(&self.app, problem));
        }
    }

    /// Adds a problem of one of its labels.
    pub(super) fn label(&mut self, label: &str, problem: &str) {
        if self.room == 0 {
            self.left_out += 1;
        } else {
            self.room -= 1;
            self.issues.push(Issue::label(&self.app, label, problem));
        }
    }

    /// Says how many were left out and, if so, why the whole app cannot be read.
    pub(super) fn finish(self, refused: Option<String>) {
        if let Some(why) = refused {
            self.issues.push(Issue::app(&self.app, format!("the app cannot be read: {why}")));
        }
        if self.left_out > 0 {
            self.issues.push(Issue::app(&self.app, format!("{} more problems are not listed", self.left_out)));
        }
    }
}

/// The most issues of one app.
const MOST: usize = 20;
