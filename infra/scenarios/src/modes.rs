//! The ways in which every story is told.

use crate::{
    World, end,
    moods::{self, Trouble},
    seed::{SEED, random},
    stops,
};
use futures::{FutureExt as _, future::LocalBoxFuture};
use gantry_domain::stack::Tool;
use rand::seq::SliceRandom as _;
use std::{future::Future, panic::AssertUnwindSafe, pin::Pin};

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
    /// Messages come twice and shuffled.
    pub const TWICE: Self = Self { twice_and_shuffled: Some(1), ..Self::PLAIN };
    /// GitLab cannot call.
    pub const NO_WEBHOOKS: Self = Self { no_webhooks: true, ..Self::PLAIN };

    /// The mode by the name of its test.
    fn named(name: &str) -> Self {
        match name {
            "plain" => Self::PLAIN,
            "twice_and_shuffled" => Self::TWICE,
            "stale_index" => Self { twice_and_shuffled: Some(2), stale_index: true, ..Self::PLAIN },
            "restarts" => Self { restarts: true, ..Self::PLAIN },
            "no_webhooks" => Self::NO_WEBHOOKS,
            other => panic!("there is no mode {other}"),
        }
    }
}

/// A story: told in a world, which it gives back.
pub type Story = fn(World) -> Telling;
/// What tells it.
pub type Telling = Pin<Box<dyn Future<Output = World>>>;

/// A story as tests: one for each [`Mode`] in which it can be told, and one, `stops`, in which
/// processes end before its side effects. What only a webhook tells (a branch that was deleted or set
/// back) is told `with_webhooks`.
#[macro_export]
macro_rules! story {
    ($name:ident, with_webhooks, $story:expr $(,)?) => {
        $crate::story_in!($name, 2, [plain, twice_and_shuffled, stale_index, restarts], $story);
    };
    ($name:ident, $story:expr $(,)?) => {
        $crate::story_in!(
            $name,
            2,
            [plain, twice_and_shuffled, stale_index, restarts, no_webhooks],
            $story
        );
    };
}

/// The same on the real tools: in each mode on Terraform, and as it is on OpenTofu. How messages
/// come, and when a process ends, makes no difference to what a tool does.
#[macro_export]
macro_rules! story_on_each_tool {
    ($name:ident, $story:expr $(,)?) => {
        mod $name {
            use super::*;

            async fn on_tool(mut world: $crate::World, tool: $crate::Tool) -> $crate::World {
                world.tool = tool;
                $crate::as_story($story)(world).await
            }

            $crate::story_in!(
                terraform,
                1,
                [plain, twice_and_shuffled, stale_index, restarts, no_webhooks],
                |world| on_tool(world, $crate::Tool::Terraform)
            );

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn opentofu() {
                if gantry_terraform::has($crate::Tool::OpenTofu) {
                    let story = |world| -> $crate::Telling {
                        Box::pin(on_tool(world, $crate::Tool::OpenTofu))
                    };
                    $crate::tell_in(module_path!(), 0, "plain", &["plain"], story).await;
                }
            }
        }
    };
}

/// The tests of [`story!`]: told as it is, and in so many `$others`, which the seed chooses.
#[macro_export]
macro_rules! story_in {
    ($name:ident, $others:literal, [$($mode:ident),+], $story:expr) => {
        mod $name {
            use super::*;

            const MODES: &[&str] = &[$(stringify!($mode)),+];

            fn told(world: $crate::World) -> $crate::Telling {
                Box::pin($crate::as_story($story)(world))
            }

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $mode() {
                $crate::tell_in(module_path!(), $others, stringify!($mode), MODES, told).await;
            })+

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn stops() {
                $crate::tell_with_stops(module_path!(), told).await;
            }
        }
    };
}

/// Tells the compiler what a closure is.
#[doc(hidden)]
pub fn as_story<F, Fut>(story: F) -> F
where
    F: Fn(World) -> Fut,
    Fut: Future<Output = World>,
{
    story
}

/// Tells the story in a mode, unless the seed chooses `others` of `modes` besides the first without
/// it, and nobody asks for it by its name.
pub async fn tell_in(name: &str, others: usize, mode: &str, modes: &[&str], story: Story) {
    let is_named = std::env::args().any(|asked| asked.ends_with(&format!("::{mode}")));
    if is_named || chosen(name, others, modes).contains(&mode) {
        tell(Mode::named(mode), &story).await.end().await;
    } else {
        eprintln!("=== GANTRY_SEED={} chooses other modes than {mode}", *SEED);
    }
}

/// The first of these modes, and some others.
fn chosen<'a>(name: &str, others: usize, modes: &[&'a str]) -> Vec<&'a str> {
    let mut rest = modes.to_vec();
    let first = rest.remove(0);
    if !stops::all_are_wanted() {
        rest.shuffle(&mut random((name, "mode")));
        rest.truncate(others);
    }
    rest.push(first);
    rest
}

/// Tells the story as it is, and then with processes that end before its side effects, as many as
/// were asked for: the end must be the same.
pub async fn tell_with_stops(name: &str, story: Story) {
    if stops::wanted(name) > 0 {
        Box::pin(told_with_stops(&[Mode::PLAIN], name, stops::wanted(name), story)).await;
    }
}

/// Tells the story on a tool, as it is.
pub async fn run_test_on<F, Fut>(tool: Tool, story: F)
where
    F: Fn(World) -> Fut,
    Fut: Future<Output = World>,
{
    let name = std::any::type_name::<F>();
    let stops = match tool {
        Tool::Terraform => stops::wanted(name),
        Tool::OpenTofu => 0,
    };
    let story = |mut world: World| {
        world.tool = tool;
        story(world)
    };
    Box::pin(told_with_stops(&[Mode::PLAIN], name, stops, story)).await;
}

/// Tells the story in the given modes, and looks at the end whether anything is left. Then again
/// with a process that ends before one of its side effects: the end must be the same.
pub async fn run_test_in<F, Fut>(modes: &[Mode], story: F)
where
    F: Fn(World) -> Fut,
    Fut: Future<Output = World>,
{
    let name = std::any::type_name::<F>();
    Box::pin(told_with_stops(modes, name, stops::wanted(name), story)).await;
}

async fn told_with_stops<F, Fut>(modes: &[Mode], name: &str, wanted: usize, story: F)
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
        let told = world.end().await;
        // What is counted goes on until the end was looked at.
        if let Some(number) = mode.stops_before
            && !world.stops.ends_by_calls()
            // How often real programs call differs from one telling to the next.
            && world.programs.ids.is_empty()
        {
            let ended = world.stops.ended();
            let count = world.stops.places().len();
            // How often something is compared or swept can differ by a few from telling to telling.
            assert!(
                ended == 1 || count <= number,
                "one process was to end, before effect {number} of {count}"
            );
        }
        let differ = end::differences(end, &told);
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
    let world = Box::pin(World::new(mode)).await.unwrap();
    let told: LocalBoxFuture<'_, World> = Box::pin(story(world));
    let mut world = told.await;
    world.expect_nothing_left().await;
    world
}
