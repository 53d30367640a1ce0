//! The ways in which every story is told.

use crate::{
    World, end,
    moods::{self, Trouble},
    seed::{SEED, random},
    stops,
};
use futures::FutureExt as _;
use gantry_domain::stack::Tool;
use rand::seq::SliceRandom as _;
use std::{future::Future, panic::AssertUnwindSafe};

/// What is made harder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mode {
    /// Every message and every webhook is delivered twice, and groups take turns at random.
    /// With one number they do so in the same way, as long as the seed is the same.
    pub twice_and_shuffled: Option<u64>,
    /// The attention index answers as it was a few writes ago, and refuses consistent reads.
    pub stale_index: bool,
    /// GitLab cannot call: everything is found by comparing.
    pub no_webhooks: bool,
    /// After every message, before it is deleted, the process ends and another one takes over.
    pub restarts: bool,
    /// The side effects are counted.
    pub counts_effects: bool,
    /// The process ends before this side effect, counted from 0.
    pub stops_before: Option<usize>,
    /// GitLab is in trouble for a while.
    pub trouble: Option<Trouble>,
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
    /// The modes of stories about what only a webhook tells, such as a branch that was deleted or
    /// set back.
    pub const WITH_WEBHOOKS: [Self; 4] = {
        let [one, two, three, four, _] = Self::ALL;
        [one, two, three, four]
    };
    /// Nothing is made harder.
    pub const PLAIN: Self = Self {
        twice_and_shuffled: None,
        stale_index: false,
        no_webhooks: false,
        restarts: false,
        counts_effects: false,
        stops_before: None,
        trouble: None,
    };
}

/// Tells the story as it is, and in two more modes, which the seed chooses; in all of them where it is
/// told with every stop.
pub async fn run_test<F, Fut>(story: F)
where
    F: Fn(World) -> Fut,
    Fut: Future<Output = World>,
{
    run_test_in(&some_of(&Mode::ALL, 2, std::any::type_name::<F>()), story).await;
}

/// Tells the story on a tool: as it is, and on Terraform once more in another mode, which the seed
/// chooses. How messages come, and when a process ends, makes no difference to what a tool does.
pub async fn run_test_on<F, Fut>(tool: Tool, story: F)
where
    F: Fn(World) -> Fut,
    Fut: Future<Output = World>,
{
    run_test_on_in(tool, &Mode::ALL, story).await;
}

/// The same, with one of the given modes besides the first; with all of them where the story is told
/// with every stop.
pub async fn run_test_on_in<F, Fut>(tool: Tool, modes: &[Mode], story: F)
where
    F: Fn(World) -> Fut,
    Fut: Future<Output = World>,
{
    let name = std::any::type_name::<F>();
    let (modes, stops) = match tool {
        Tool::Terraform => (some_of(modes, 1, name), stops::wanted(name)),
        Tool::OpenTofu => (vec![Mode::PLAIN], 0),
    };
    let story = |mut world: World| {
        world.tool = tool;
        story(world)
    };
    tell_with_stops(&modes, name, stops, story).await;
}

/// The first of these modes, and some others, in their order.
fn some_of(modes: &[Mode], others: usize, story: &str) -> Vec<Mode> {
    if stops::all_are_wanted() || modes.is_empty() {
        return modes.to_vec();
    }
    let mut numbers: Vec<usize> = (1..modes.len()).collect();
    numbers.shuffle(&mut random((story, "mode")));
    numbers.truncate(others);
    numbers.push(0);
    numbers.sort_unstable();
    numbers.into_iter().map(|number| modes[number]).collect()
}

/// Tells the story in the given modes, and looks at the end whether anything is left. Then again
/// with a process that ends before one of its side effects: the end must be the same.
pub async fn run_test_in<F, Fut>(modes: &[Mode], story: F)
where
    F: Fn(World) -> Fut,
    Fut: Future<Output = World>,
{
    let name = std::any::type_name::<F>();
    tell_with_stops(modes, name, stops::wanted(name), story).await;
}

async fn tell_with_stops<F, Fut>(modes: &[Mode], name: &str, wanted: usize, story: F)
where
    F: Fn(World) -> Fut,
    Fut: Future<Output = World>,
{
    // A story that is never told as it is, because it is about what is harder, is compared with its
    // first telling.
    let first = modes.iter().position(|mode| *mode == Mode::PLAIN).unwrap_or_default();
    let counted = Mode { counts_effects: wanted > 0, ..modes[first] };
    let mut undisturbed = None;
    for (number, mode) in modes.iter().enumerate() {
        let is_first = number == first;
        let mut world = tell(if is_first { counted } else { *mode }, &story).await;
        if is_first {
            undisturbed = Some((world.end().await, world.stops.places()));
        }
    }
    let Some((end, places)) = undisturbed else { return };
    let mut wrong = Vec::new();
    let chosen = stops::chosen(name, &places, wanted);
    eprintln!("=== {} side effects, told with {} processes that end", places.len(), chosen.len());
    for number in chosen {
        let mode = Mode { stops_before: Some(number), ..counted };
        if !ends_so(&end, mode, &story).await {
            wrong.push(number);
        }
    }
    assert!(
        wrong.is_empty(),
        "of {} side effects, stops before {wrong:?} change the end",
        places.len()
    );
}

/// Tells the story as it is, then with a GitLab that gets into trouble at one of its `moments`
/// ([`World::moment`]): the end must be the same.
pub async fn run_test_in_moods<F, Fut>(moments: usize, story: F)
where
    F: Fn(World) -> Fut,
    Fut: Future<Output = World>,
{
    let end = tell(Mode::PLAIN, &story).await.end().await;
    let mut wrong = Vec::new();
    for trouble in moods::chosen(std::any::type_name::<F>(), moments) {
        let mode = Mode { trouble: Some(trouble), ..Mode::PLAIN };
        if !ends_so(&end, mode, &story).await {
            wrong.push(trouble);
        }
    }
    assert!(wrong.is_empty(), "these change the end: {wrong:#?}");
}

/// True when the story, told in this mode, ends as it should.
async fn ends_so<F, Fut>(end: &[String], mode: Mode, story: &F) -> bool
where
    F: Fn(World) -> Fut,
    Fut: Future<Output = World>,
{
    let told = AssertUnwindSafe(async {
        let mut world = tell(mode, story).await;
        if let Some(number) = mode.stops_before
            && !world.stops.ends_by_calls()
            // How often real programs call differs from one telling to the next.
            && world.programs.ids.is_empty()
        {
            let ended = world.stops.ended();
            assert_eq!(ended, 1, "one process was to end, before side effect {number}");
        }
        let differ = end::differences(end, &world.end().await);
        assert!(differ.is_empty(), "{}\n{}", differ.join("\n"), world.history());
    });
    told.catch_unwind().await.is_ok()
}

async fn tell<F, Fut>(mode: Mode, story: &F) -> World
where
    F: Fn(World) -> Fut,
    Fut: Future<Output = World>,
{
    eprintln!("=== GANTRY_SEED={} make test: {mode:?}", *SEED);
    let mut world = story(World::new(mode).await.unwrap()).await;
    world.expect_nothing_left().await;
    world
}
