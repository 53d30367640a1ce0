//! Processes that end before one of their side effects.
//!
//! A side effect is a write to the table, a message that is sent, a write to GitLab, an object that
//! is written or deleted, or the start of a runner: each passes a door, which counts it. Where a
//! process is to end, the door never lets the effect through, and whoever watches the work sees it
//! end there, as by `kill -9`. What lies between two effects leaves no trace, so "before each effect"
//! and "after the last" (the mode with restarts) are all there is.
//!
//! Watched are all messages, and all requests of runners and of GitLab's webhooks. What people change
//! is watched where a story says so ([`crate::World::watch_people`]): every story begins with the same
//! requests, and to stop each of them each time would find nothing more. Not watched are reads, which
//! leave nothing, and runner programs, which are processes of their own (`functions/runner` has the
//! tests of how they end). Of the effects of one kind that one message has, the first, the second and
//! a later one are stopped, not each.

use crate::seed::{asked, random};
use async_trait::async_trait;
use futures::{StreamExt as _, stream::BoxStream};
use gantry_fake_gitlab::Gate;
use gantry_queue::{Outgoing, QueueName, Received, SendError, Transport};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};
use rand::{RngExt as _, seq::IndexedRandom as _};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::watch;

/// Nobody asks for more: one of so many stories is told with a process that ends.
const SHARE: u32 = 4;

/// Counts the side effects of what is watched, and ends the process at one of them.
#[derive(Clone)]
pub(crate) struct Stops(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// How many processes have ended.
    ended: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    /// What of what goes on is watched: kinds of messages, and of requests.
    watching: Vec<String>,
    /// The place of each effect that there was.
    places: Vec<Place>,
    /// How many there were when the present work began.
    begun: usize,
    /// The effect that is never let through.
    at: Option<usize>,
    /// Calls of GitLab that the present process has made.
    calls: usize,
    /// How many a process makes, and how many processes end so.
    most_calls: Option<(usize, usize)>,
    /// What it would have been.
    stopped_before: Option<String>,
}

/// Where in the work an effect is: of what kind of message or request, what it does (without ids),
/// and whether it is the first such effect of that message, the second, or a later one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(String, String, usize);

impl Stops {
    /// The process ends before effect number `at`, counted from 0; never without a number.
    pub(crate) fn new(at: Option<usize>) -> Self {
        let state = State { at, ..State::default() };
        Self(Arc::new(Inner { state: Mutex::new(state), ended: watch::Sender::new(0) }))
    }

    /// The places of the effects that there were.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.0.state.lock().unwrap().places.clone()
    }

    /// How many processes have ended.
    pub(crate) fn ended(&self) -> usize {
        *self.0.ended.borrow()
    }

    /// Before what the process ended.
    pub(crate) fn stopped_before(&self) -> Option<String> {
        self.0.state.lock().unwrap().stopped_before.clone()
    }

    /// A side effect comes next. Does not return where the process ends.
    pub(crate) async fn before(&self, effect: impl FnOnce() -> String) {
        {
            let mut state = self.0.state.lock().unwrap();
            let Some(work) = state.watching.last().cloned() else { return };
            let effect = effect();
            let kind = without_ids(&effect);
            let before = state.places[state.begun..].iter().filter(|place| place.1 == kind);
            let before = before.take(2).count();
            let number = state.places.len();
            state.places.push(Place(work, kind, before));
            if state.at != Some(number) {
                return;
            }
            state.stopped_before = Some(effect);
        }
        self.0.ended.send_modify(|count| *count += 1);
        std::future::pending().await
    }

    /// From now on each process ends at a call of GitLab, the next after so many; so many processes.
    pub(crate) fn end_after_calls(&self, calls: usize, processes: usize) {
        let mut state = self.0.state.lock().unwrap();
        (state.calls, state.most_calls) = (0, Some((calls, processes)));
    }

    /// True where the story itself lets processes end.
    pub(crate) fn ends_by_calls(&self) -> bool {
        self.0.state.lock().unwrap().most_calls.is_some()
    }

    /// A call of GitLab comes next. Does not return where the process ends.
    async fn before_call(&self) {
        {
            let mut state = self.0.state.lock().unwrap();
            let Some((most, processes)) = state.most_calls.filter(|_| !state.watching.is_empty())
            else {
                return;
            };
            state.calls += 1;
            if state.calls <= most || processes == 0 {
                return;
            }
            (state.calls, state.most_calls) = (0, Some((most, processes - 1)));
            state.stopped_before = Some(format!("a call of GitLab, after {most}"));
        }
        self.0.ended.send_modify(|count| *count += 1);
        std::future::pending().await
    }

    /// Does the work of a process, which is of this kind. None when the process has ended over it.
    pub(crate) async fn watch<T>(&self, kind: &str, work: impl Future<Output = T>) -> Option<T> {
        let mut ended = self.0.ended.subscribe();
        let _watching = Watching::new(self, kind);
        tokio::select! {
            biased;
            _ = ended.changed() => None,
            done = work => Some(done),
        }
    }
}

/// What tells stories with every stop.
const ALL: &str = "all";

/// Whether whoever runs the tests wants all.
pub(crate) fn all_are_wanted() -> bool {
    asked("GANTRY_STOPS") == ALL
}

/// With how many processes that end a story is told: with one for each place where
/// `GANTRY_STOPS=all` says so, with as many as it says, or else with one in a few of the stories,
/// chosen by the seed.
pub(crate) fn wanted(story: &str) -> usize {
    match asked("GANTRY_STOPS").as_str() {
        ALL => usize::MAX,
        "" => random((story, "share")).random_ratio(1, SHARE).into(),
        number => number.parse().expect("GANTRY_STOPS is a number, or all"),
    }
}

/// Before which of a story's effects its process ends: one of those at each place that is chosen,
/// both by the seed. A story does the same thing many times, and what is left undone is the same.
pub(crate) fn chosen(story: &str, places: &[Place], wanted: usize) -> Vec<usize> {
    let mut random = random(story);
    let mut at: BTreeMap<&Place, Vec<usize>> = BTreeMap::new();
    for (number, place) in places.iter().enumerate() {
        at.entry(place).or_default().push(number);
    }
    let one_of_each = at.values().filter_map(|numbers| numbers.choose(&mut random).copied());
    let numbers: Vec<usize> = one_of_each.collect();
    let mut numbers = numbers.sample(&mut random, wanted).copied().collect::<Vec<_>>();
    numbers.sort_unstable();
    numbers
}

/// An effect, or a request, without what is another in each telling: parts of paths with a digit in
/// them.
pub(crate) fn without_ids(effect: &str) -> String {
    let is_id = |part: &str| part.contains(|c: char| c.is_ascii_digit());
    let parts = effect.split_inclusive(['/', ' ', ',', '#']);
    parts.map(|part| if is_id(part) { "*" } else { part }).collect()
}

/// Effects are counted as long as it lives.
struct Watching<'a>(&'a Stops);

impl<'a> Watching<'a> {
    fn new(stops: &'a Stops, kind: &str) -> Self {
        let mut state = stops.0.state.lock().unwrap();
        state.watching.push(kind.to_owned());
        state.begun = state.places.len();
        drop(state);
        Self(stops)
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.0.state.lock().unwrap().watching.pop();
    }
}

/// The door to GitLab. Reads change nothing.
pub(crate) fn before_gitlab(stops: &Stops) -> Gate {
    let stops = stops.clone();
    Arc::new(move |method, path| {
        let stops = stops.clone();
        let effect = (method != "GET").then(|| format!("{method} {path}"));
        Box::pin(async move {
            stops.before_call().await;
            if let Some(effect) = effect {
                stops.before(|| effect).await;
            }
        })
    })
}

/// The door to the queues.
pub(crate) struct BeforeQueues {
    pub(crate) stops: Stops,
    pub(crate) queues: Arc<dyn Transport>,
}

#[async_trait]
impl Transport for BeforeQueues {
    async fn send(&self, messages: Vec<Outgoing>) -> Vec<std::result::Result<(), SendError>> {
        let what = || match messages.first() {
            Some(first) => format!("{} messages, the first for {}", messages.len(), first.queue),
            None => "no message".to_owned(),
        };
        self.stops.before(what).await;
        self.queues.send(messages).await
    }

    async fn change_visibility(
        &self,
        queue: QueueName,
        receipt: &str,
        delay: Duration,
    ) -> anyhow::Result<()> {
        self.stops.before(|| format!("a message of {queue} waits")).await;
        self.queues.change_visibility(queue, receipt, delay).await
    }

    async fn move_to_dead_letters(
        &self,
        queue: QueueName,
        message: &Received,
        error: &str,
    ) -> anyhow::Result<()> {
        self.stops.before(|| format!("a message of {queue} is given up")).await;
        self.queues.move_to_dead_letters(queue, message, error).await
    }
}

/// The door to the objects.
#[derive(Clone)]
pub(crate) struct BeforeObjects {
    pub(crate) stops: Stops,
    pub(crate) objects: Arc<dyn ObjectStore>,
}

impl fmt::Debug for BeforeObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.objects.fmt(f)
    }
}

impl fmt::Display for BeforeObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.objects.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for BeforeObjects {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.stops.before(|| format!("object {at}")).await;
        self.objects.put_opts(at, payload, options).await
    }

    // The object appears when its upload is finished, and nothing sees it before.
    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.stops.before(|| format!("object {at}")).await;
        self.objects.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.objects.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let stops = self.stops.clone();
        let passed = paths.then(move |path| {
            let stops = stops.clone();
            async move {
                if let Ok(at) = &path {
                    stops.before(|| format!("no object {at}")).await;
                }
                path
            }
        });
        self.objects.delete_stream(passed.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}
