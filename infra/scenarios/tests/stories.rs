//! One program, so that the system is linked once.
#![expect(clippy::unwrap_used, reason = "a story that cannot go on should stop where it is")]

mod stories {
    mod branches;
    mod commands;
    mod comparing;
    mod feedback;
    mod hints;
    mod merge_requests;
    mod modules;
    mod moods;
    mod outside;
    mod previews;
    mod refusals;
    mod renames;
    mod runners;
    mod scale;
    mod settings;
    mod sources;
    mod state;
    mod tracked;
    mod unpushed;
}
