//! The `gantry-fake-gitlab` command.

fn main() {}
