//! The ways in which every story is told.

use crate::World;
use gantry_domain::stack::Tool;
use std::future::Future;

/// What is made harder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mode {
    /// Every message and every webhook is delivered twice, and groups take turns at random.
    pub twice_and_shuffled: Option<u64>,
    /// The attention index answers as it was a few writes ago, and refuses consistent reads.
    pub stale_index: bool,
    /// GitLab cannot call: everything is found by comparing.
    pub no_webhooks: bool,
    /// After every message, before it is deleted, the process ends and another one takes over.
    pub restarts: bool,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 5] = [
        Self::PLAIN,
        Self { twice_and_shuffled: Some(1), ..Self::PLAIN },
        Self { twice_and_shuffled: Some(2), stale_index: true, ..Self::PLAIN },
        Self { restarts: true, ..Self::PLAIN },
        Self { no_webhooks: true, ..Self::PLAIN },
    ];
    /// The modes of stories about what only a webhook tells, such as a branch without a merge
    /// request.
    pub const WITH_WEBHOOKS: [Self; 4] = {
        let [one, two, three, four, _] = Self::ALL;
        [one, two, three, four]
    };
    /// Nothing is made harder.
    pub const PLAIN: Self =
        Self { twice_and_shuffled: None, stale_index: false, no_webhooks: false, restarts: false };
}

/// Tells the story in every mode.
pub async fn run_test<F, Fut>(story: F)
where
    F: Fn(World) -> Fut,
    Fut: Future<Output = World>,
{
    run_test_in(&Mode::ALL, story).await;
}

/// Tells the story on a tool: on Terraform in every mode, and on another one as it is. How messages
/// come makes no difference to what a tool does.
pub async fn run_test_on<F, Fut>(tool: Tool, story: F)
where
    F: Fn(World) -> Fut,
    Fut: Future<Output = World>,
{
    let modes: &[Mode] = match tool {
        Tool::Terraform => &Mode::ALL,
        Tool::OpenTofu => &[Mode::PLAIN],
    };
    run_test_in(modes, |mut world| {
        world.tool = tool;
        story(world)
    })
    .await;
}

/// Tells the story in the given modes, and looks at the end whether anything is left.
pub async fn run_test_in<F, Fut>(modes: &[Mode], story: F)
where
    F: Fn(World) -> Fut,
    Fut: Future<Output = World>,
{
    for mode in modes {
        eprintln!("=== {mode:?}");
        let world = World::new(*mode).await.unwrap();
        let mut world = story(world).await;
        world.expect_nothing_left().await;
    }
}
