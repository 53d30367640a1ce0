//! The whole first-time path in a real browser, without any call of the API; and what every page
//! has to hold: accessible, readable in the dark and on a phone, usable by keyboard, small.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on should stop where it is")]

mod account;
mod approvals;
mod every_page;
mod first_time;
mod forms;
mod notes;
mod people;
mod sign_in;
mod support;
mod without_scripts;
