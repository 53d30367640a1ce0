//! The table against dynoxide, spoken to with the real SDK.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use axum::{body::Bytes, http::StatusCode};
use gantry_domain::integration::Outage;
use gantry_local_table::LocalTable;
use gantry_setup::aws;
use gantry_store::{Expect, Key, Outcome, Store, Write, feedback::Published, health::Health, keys};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

async fn store() -> Store {
    let table = LocalTable::in_memory().unwrap();
    let client = aws_sdk_dynamodb::Client::new(&table.config());
    let store = Store::new(client, "gantry".to_owned());
    store.create_table_if_missing().await.unwrap();
    store.create_table_if_missing().await.unwrap();
    store
}

fn put(key: &Key, expect: Expect, value: &str) -> Write {
    Write::put(key.clone(), expect, &value.to_owned()).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[tokio::test]
async fn a_write_states_what_it_expects() {
    let store = store().await;
    let key = Key::new("run/a", "#");
    assert_eq!(
        store.write(vec![put(&key, Expect::Absent, "one")]).await.unwrap(),
        Outcome::Written
    );
    assert_eq!(store.write(vec![put(&key, Expect::Absent, "two")]).await.unwrap(), Outcome::Stale);
    let read = store.get::<String>(&key).await.unwrap().unwrap();
    assert_eq!(read.value, "one");
    let next = put(&key, read.unchanged(), "two");
    assert_eq!(store.write(vec![next.clone()]).await.unwrap(), Outcome::Written);
    assert_eq!(store.write(vec![next]).await.unwrap(), Outcome::Stale);
    let now = store.get::<String>(&key).await.unwrap().unwrap().version;
    assert_eq!(now, read.version + 1);
}

async fn version_of(store: &Store, key: &Key) -> u64 {
    store.get::<String>(key).await.unwrap().unwrap().version
}

#[tokio::test]
async fn what_is_made_again_is_not_what_was_read_before() {
    let store = store().await;
    let key = Key::new("scheduler/blocked", "a");
    let write = async |write| assert_eq!(store.write(vec![write]).await.unwrap(), Outcome::Written);
    write(put(&key, Expect::Absent, "first")).await;
    for again in [Expect::Any, Expect::Present] {
        let read = store.get::<String>(&key).await.unwrap().unwrap();
        write(put(&key, again, "second")).await;
        let gone = Write::Delete { key: key.clone(), expect: read.unchanged() };
        assert_eq!(store.write(vec![gone]).await.unwrap(), Outcome::Stale, "{again:?}");
    }
    let read = store.get::<String>(&key).await.unwrap().unwrap();
    write(Write::Delete { key: key.clone(), expect: Expect::Any }).await;
    write(put(&key, Expect::Absent, "third")).await;
    let old = put(&key, read.unchanged(), "fourth");
    assert_eq!(store.write(vec![old]).await.unwrap(), Outcome::Stale);
}

/// A table where another transaction is on the item for the first requests.
async fn busy(times: usize) -> Store {
    let asked = Arc::new(AtomicUsize::new(0));
    let answer = move || {
        let is_busy = asked.fetch_add(1, Ordering::SeqCst) < times;
        async move {
            match is_busy {
                true => (StatusCode::BAD_REQUEST, CONFLICT),
                false => (StatusCode::OK, r#"{"Attributes":{"want":{"N":"7"}}}"#),
            }
        }
    };
    answered_by(axum::Router::new().fallback(answer)).await
}

async fn answered_by(router: axum::Router) -> Store {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = aws_sdk_dynamodb::Client::new(&aws::for_loopback(&endpoint));
    Store::new(client, "gantry".to_owned())
}

/// In DynamoDB's words.
const CONFLICT: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionConflictException","message":"Transaction is ongoing for the item"}"#;

#[tokio::test]
async fn an_item_that_is_in_a_transaction_is_waited_for_and_is_stale_then() {
    let key = Key::new("run/a", "#");
    let writes =
        [put(&key, Expect::Any, "one"), Write::Delete { key: key.clone(), expect: Expect::Any }];
    for write in writes {
        let write = vec![write];
        assert_eq!(busy(2).await.write(write.clone()).await.unwrap(), Outcome::Written);
        assert_eq!(busy(100).await.write(write).await.unwrap(), Outcome::Stale);
    }
    let raised = busy(2).await.raise(&key, "want", at(0)).await.unwrap();
    assert_eq!(raised.get("want"), Some(&7));
    let set = async |store: Store| store.set_numbers(&key, &[("done", 1)], None, None).await;
    assert_eq!(set(busy(2).await).await.unwrap().0, Outcome::Written);
    assert_eq!(set(busy(6).await).await.unwrap().0, Outcome::Stale);
}

/// A table that leaves everything undone for the first requests, and when it was asked.
async fn throttled(times: usize) -> (Store, Arc<Mutex<Vec<Instant>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let answer = move |request: Bytes| {
        let mut asked = noted.lock().unwrap();
        asked.push(Instant::now());
        let mut request: Value = serde_json::from_slice(&request).unwrap();
        let left = match asked.len() <= times {
            true => request["RequestItems"].take(),
            false => json!({}),
        };
        let answer = json!({ "Responses": {}, "UnprocessedKeys": left, "UnprocessedItems": left });
        std::future::ready(answer.to_string())
    };
    (answered_by(axum::Router::new().fallback(answer)).await, asked)
}

#[tokio::test]
async fn what_the_table_left_undone_is_asked_for_again_after_pauses_that_grow() {
    const TIMES: usize = 5;
    let key = Key::new("run/a", "#");
    for writes in [false, true] {
        let (store, asked) = throttled(TIMES).await;
        match writes {
            true => store.put_all(&[put(&key, Expect::Any, "one")]).await.unwrap(),
            false => assert!(
                store.get_many::<String>(std::slice::from_ref(&key)).await.unwrap().is_empty()
            ),
        }
        let asked = asked.lock().unwrap();
        let pauses: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(pauses.len(), TIMES);
        for (number, pause) in pauses.iter().enumerate() {
            let least = Duration::from_millis(20 << number);
            assert!(*pause >= least, "after {number} others a pause of {pause:?}, not {least:?}");
        }
    }
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing() {
    let store = store().await;
    let (a, b) = (Key::new("run/a", "#"), Key::new("stack/b", "#"));
    assert_eq!(store.write(vec![put(&a, Expect::Absent, "a")]).await.unwrap(), Outcome::Written);
    let both = vec![put(&b, Expect::Absent, "b"), put(&a, Expect::Absent, "again")];
    assert_eq!(store.write(both).await.unwrap(), Outcome::Stale);
    assert!(store.get::<String>(&b).await.unwrap().is_none());
    let checked = vec![
        put(&b, Expect::Absent, "b"),
        Write::Check { key: a.clone(), expect: Expect::Version(version_of(&store, &a).await) },
    ];
    assert_eq!(store.write(checked).await.unwrap(), Outcome::Written);
    let removed = vec![
        Write::Delete { key: a.clone(), expect: Expect::Version(version_of(&store, &a).await) },
        Write::Check { key: b, expect: Expect::Present },
    ];
    assert_eq!(store.write(removed).await.unwrap(), Outcome::Written);
    assert!(store.get::<String>(&a).await.unwrap().is_none());
}

#[tokio::test]
async fn a_check_alone_changes_nothing() {
    let store = store().await;
    let key = Key::new("run/a", "#");
    let check = |expect| vec![Write::Check { key: key.clone(), expect }];
    assert_eq!(store.write(check(Expect::Present)).await.unwrap(), Outcome::Stale);
    assert_eq!(
        store.write(vec![put(&key, Expect::Absent, "one")]).await.unwrap(),
        Outcome::Written
    );
    let version = version_of(&store, &key).await;
    assert_eq!(store.write(check(Expect::Version(version))).await.unwrap(), Outcome::Written);
    assert!(store.get::<String>(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn lists_come_in_order_and_in_pages() {
    let store = store().await;
    for i in 0..25 {
        let key = Key::new("stack/s", format!("run#{i:02}"));
        assert_eq!(
            store.write(vec![put(&key, Expect::Absent, "x")]).await.unwrap(),
            Outcome::Written
        );
    }
    let other = put(&Key::new("stack/s", "#"), Expect::Absent, "head");
    assert_eq!(store.write(vec![other]).await.unwrap(), Outcome::Written);
    assert_eq!(store.query_all::<String>("stack/s", "run#").await.unwrap().len(), 25);
    let newest = store.query::<String>("stack/s", "run#", None, true, 10).await.unwrap();
    assert_eq!(newest.items[0].key.sk, "run#24");
    let next = newest.next.unwrap();
    let older = store.query::<String>("stack/s", "run#", Some(&next), true, 10).await.unwrap();
    assert_eq!(older.items[0].key.sk, "run#14");
    let keys: Vec<_> = (0..25).map(|i| Key::new("stack/s", format!("run#{i:02}"))).collect();
    assert_eq!(store.get_many::<String>(&keys).await.unwrap().len(), 25);
}

#[tokio::test]
async fn what_is_due_is_found_until_it_is_rewritten() {
    let store = store().await;
    let key = Key::new("run/a", "#");
    let due = put(&key, Expect::Absent, "x").due(Some(at(100)));
    assert_eq!(store.write(vec![due]).await.unwrap(), Outcome::Written);
    let found = async |now| {
        let mut found = Vec::new();
        for shard in 0..gantry_store::table::ATTENTION_SHARDS {
            found.extend(store.maybe_due(shard, at(now), 10).await.unwrap());
        }
        found
    };
    assert!(found(99).await.is_empty());
    assert_eq!(found(100).await, vec![key.clone()]);
    let version = version_of(&store, &key).await;
    assert_eq!(
        store.write(vec![put(&key, Expect::Version(version), "y")]).await.unwrap(),
        Outcome::Written
    );
    assert!(found(100).await.is_empty());
}

#[tokio::test]
async fn feedback_is_nudged_once_and_never_forgotten() {
    let store = store().await;
    let target = "status:1:abc";
    let nudge = store.raise_want(target, at(0)).await.unwrap();
    assert_eq!(nudge, Some(1));
    store.nudge_sent(target, 1, at(0)).await.unwrap();
    assert_eq!(store.raise_want(target, at(1)).await.unwrap(), None, "one is on its way");
    let counters = store.counters(target).await.unwrap();
    assert_eq!((counters.want, counters.done), (2, 0));
    let both = store.counters_of(&["note:1:2", target]).await.unwrap();
    let of_none = store.counters("note:1:2").await.unwrap();
    assert_eq!(both, [("note:1:2", of_none), (target, counters)]);
    assert_eq!(store.raise_want(target, at(2)).await.unwrap(), None);
    let ended = store.published(target, counters.want, at(3)).await.unwrap();
    assert_eq!(ended, Published::Again, "something changed while it was published");
    assert_eq!(store.published(target, 3, at(4)).await.unwrap(), Published::UpToDate);
    assert_eq!(store.raise_want(target, at(5)).await.unwrap(), Some(4), "the next change nudges");
    // Whoever was to send it died first: the next one does.
    assert_eq!(store.raise_want(target, at(6)).await.unwrap(), Some(5));
    store.nudge_sent(target, 5, at(6)).await.unwrap();
    let later = at(6) + SignedDuration::from_secs(121);
    assert_eq!(store.raise_want(target, later).await.unwrap(), Some(6), "the nudge was lost");
}

#[tokio::test]
async fn what_is_to_be_shown_at_once_does_not_wait_for_a_nudge_that_comes_later() {
    let store = store().await;
    let target = "status:1:abc";
    assert_eq!(store.raise_want(target, at(2)).await.unwrap(), Some(1));
    store.nudge_sent(target, 1, at(2)).await.unwrap();
    assert_eq!(store.raise_want(target, at(3)).await.unwrap(), None, "it comes in time");
    assert_eq!(store.raise_want(target, at(1)).await.unwrap(), Some(3), "it comes too late");
    store.nudge_sent(target, 3, at(1)).await.unwrap();
    assert_eq!(store.published(target, 3, at(1)).await.unwrap(), Published::UpToDate);
    let counters = store.counters(target).await.unwrap();
    assert!(counters.has_done(Some(1)), "the later nudge finds nothing to do");
    assert!(!counters.has_done(Some(4)) && !counters.has_done(None));
}

#[tokio::test]
async fn a_later_look_is_a_nudge_on_its_way_and_is_found_where_that_is_lost() {
    let (store, start) = (store().await, 1_000_000);
    let (target, at) = ("status:1:abc", |second: i64| at(start + second));
    assert_eq!(store.raise_want(target, at(0)).await.unwrap(), Some(1));
    store.nudge_sent(target, 1, at(0)).await.unwrap();
    let ended = store.published_for_now(target, 1, at(3), at(0)).await.unwrap();
    assert_eq!(ended, Published::UpToDate);
    let counters = store.counters(target).await.unwrap();
    assert_eq!((counters.want, counters.done), (2, 1), "it is still to be done");
    assert!(!counters.look_is_due(at(0)) && counters.look_is_due(at(3)));
    assert_eq!(store.raise_want(target, at(3)).await.unwrap(), None, "it comes in time");

    // What is shown at once does not wait, and leaves the later nudge an older number.
    assert_eq!(store.raise_want(target, at(1)).await.unwrap(), Some(4));
    store.nudge_sent(target, 4, at(1)).await.unwrap();
    let counters = store.counters(target).await.unwrap();
    assert_eq!(counters.looks_by(at(3), at(1)), Some(at(3)), "no other is needed");
    assert_eq!(counters.looks_by(at(2), at(1)), None, "it comes too late");
    assert_eq!(counters.looks_by(at(3), at(2)), None, "it may be this one, a little early");
    let ended = store.published_for_now(target, 4, at(3), at(1)).await.unwrap();
    assert_eq!(ended, Published::UpToDate);
    let counters = store.counters(target).await.unwrap();
    assert!(counters.has_done(Some(2)) && counters.look_is_due(at(3)), "it looks all the same");

    let found = async |now: i64| {
        let mut found = Vec::new();
        for shard in 0..gantry_store::table::ATTENTION_SHARDS {
            found.extend(store.maybe_due(shard, at(now), 10).await.unwrap());
        }
        found
    };
    assert!(found(122).await.is_empty());
    assert_eq!(found(123).await, vec![keys::feedback(target)]);
    assert_eq!(store.raise_want(target, at(124)).await.unwrap(), Some(6), "it was lost");
    let ended = store.published_for_now(target, 5, at(130), at(124)).await.unwrap();
    assert_eq!(ended, Published::Again, "something changed while it was published");
    assert_eq!(store.counters(target).await.unwrap().looks_by(at(130), at(124)), None);
    assert_eq!(store.published(target, 6, at(124)).await.unwrap(), Published::UpToDate);
    assert!(!store.counters(target).await.unwrap().look_is_due(at(4)), "nothing is to be shown");
    assert!(found(1000).await.is_empty());
}

#[tokio::test]
async fn what_is_known_of_a_target_is_read_at_once() {
    let store = store().await;
    let target = "status:1:abc";
    let known = store.known_feedback(target).await.unwrap();
    assert_eq!((known.counters.want, known.memory), (0, None));
    store.raise_want(target, at(0)).await.unwrap();
    let key = keys::feedback_memory(target);
    assert_eq!(
        store.write(vec![put(&key, Expect::Absent, "posted")]).await.unwrap(),
        Outcome::Written
    );
    let known = store.known_feedback(target).await.unwrap();
    assert_eq!((known.counters.want, known.counters.done), (1, 0));
    let (read, memory) = (store.get::<String>(&key).await.unwrap(), known.memory.unwrap());
    assert_eq!(Some(memory.clone().parsed::<String>().unwrap()), read);
    assert!(memory.parsed::<u64>().unwrap_err().to_string().contains("memory"));
}

#[tokio::test]
async fn what_another_process_saw_of_gitlab_is_asked_a_minute_later() {
    let client = aws_sdk_dynamodb::Client::new(&LocalTable::in_memory().unwrap().config());
    let process = || Store::new(client.clone(), "gantry".to_owned());
    let (one, other) = (process(), process());
    one.create_table_if_missing().await.unwrap();
    let outage = || {
        let reason = "503".to_owned();
        Some(Outage { reason, token_rejected: false, rate_limited: false })
    };
    let is_broken = async || {
        let found = one.get::<Health>(&keys::health("publisher")).await.unwrap();
        found.is_some_and(|health| health.value.broken.is_some())
    };
    one.note_health("publisher", None, at(0)).await.unwrap();
    other.note_health("publisher", outage(), at(10)).await.unwrap();
    one.note_health("publisher", None, at(59)).await.unwrap();
    assert!(is_broken().await, "it is not asked each time");
    one.note_health("publisher", None, at(60)).await.unwrap();
    assert!(!is_broken().await);
    // Who saw the trouble says at once that it is over.
    for second in [61, 63] {
        one.note_health("publisher", None, at(second)).await.unwrap();
        assert!(!is_broken().await);
        one.note_health("publisher", outage(), at(second + 1)).await.unwrap();
        assert!(is_broken().await);
    }
    one.note_health("publisher", None, at(65)).await.unwrap();
    assert!(!is_broken().await);
}

#[tokio::test]
async fn failures_of_a_message_are_counted_until_it_is_handled() {
    use gantry_setup::failures::FailureCounts as _;
    let store = store().await;
    for count in 1..=2 {
        assert_eq!(store.failed("events.fifo", "m").await.unwrap(), count);
    }
    assert_eq!(store.failed("source.fifo", "m").await.unwrap(), 1, "queues are apart");
    store.clear("events.fifo", "m").await.unwrap();
    assert_eq!(store.failed("events.fifo", "m").await.unwrap(), 1);
}
