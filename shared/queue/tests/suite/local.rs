//! Local queues behave as SQS does where it shows.

use crate::support::{Hand, compare, name_of, nudge, queues};
use gantry_local_queues::LocalQueues;
use gantry_queue::{
    Backlog, DeadLetters, Envelope, Message, Outgoing, QueueName, Received, SendError, Sender,
    Transport,
};
use std::{fs, sync::Arc, time::Duration};

const Q: QueueName = QueueName::Events;
const MINUTE: Duration = Duration::from_secs(60);

fn names(messages: &[Received]) -> Vec<String> {
    messages.iter().map(|m| name_of(&Envelope::from_body(&m.body).unwrap().message)).collect()
}

async fn send(queues: &Arc<LocalQueues>, hand: &Hand, messages: Vec<Message>) {
    let transport: Arc<dyn Transport> = queues.clone();
    Sender::new(transport, hand.now()).send_all(messages).await.unwrap();
}

fn delete(queues: &LocalQueues, messages: &[Received]) {
    let receipts: Vec<&str> = messages.iter().map(|m| m.receipt.as_str()).collect();
    queues.delete(Q, &receipts).unwrap();
}

#[tokio::test]
async fn a_group_is_in_order_and_one_receipt_at_a_time() {
    let (queues, hand) = queues();
    send(&queues, &hand, vec![nudge("a", 1), nudge("a", 2), nudge("b", 1), nudge("a", 3)]).await;

    let first = queues.receive(Q, 2, MINUTE).unwrap();
    assert_eq!(names(&first), ["a-1", "a-2"]);
    let second = queues.receive(Q, 10, MINUTE).unwrap();
    assert_eq!(names(&second), ["b-1"], "the third of a waits for the first two");

    delete(&queues, &first[..1]);
    assert!(queues.receive(Q, 10, MINUTE).unwrap().is_empty(), "a-2 is still in flight");
    delete(&queues, &first[1..]);
    assert_eq!(names(&queues.receive(Q, 10, MINUTE).unwrap()), ["a-3"]);
}

#[tokio::test]
async fn a_message_becomes_visible_again_in_its_place() {
    let (queues, hand) = queues();
    send(&queues, &hand, vec![nudge("a", 1), nudge("a", 2)]).await;
    let first = queues.receive(Q, 1, MINUTE).unwrap();
    assert_eq!(first[0].receive_count, 1);
    hand.advance(MINUTE);
    let again = queues.receive(Q, 10, MINUTE).unwrap();
    assert_eq!(names(&again), ["a-1", "a-2"]);
    assert_eq!(again[0].receive_count, 2);
    assert_eq!(again[0].message_id, first[0].message_id);

    delete(&queues, &first);
    assert_eq!(queues.counts(Q).unwrap().invisible, 2, "an old receipt ends nothing");
    queues.change_visibility(Q, &first[0].receipt, Duration::ZERO).await.unwrap();
    assert_eq!(queues.counts(Q).unwrap().invisible, 2, "and shows nothing");

    queues.change_visibility(Q, &again[0].receipt, Duration::from_secs(5)).await.unwrap();
    queues.change_visibility(Q, &again[1].receipt, Duration::ZERO).await.unwrap();
    assert!(queues.receive(Q, 10, MINUTE).unwrap().is_empty(), "a-1 holds a-2 back");
    assert_eq!(queues.next_visible_at(Q).unwrap(), Some((hand.now())() + Duration::from_secs(5)));
    hand.advance(Duration::from_secs(5));
    assert_eq!(names(&queues.receive(Q, 10, MINUTE).unwrap()), ["a-1", "a-2"]);
}

#[tokio::test]
async fn a_repeated_message_is_swallowed_for_five_minutes_even_after_delivery() {
    let (queues, hand) = queues();
    send(&queues, &hand, vec![nudge("a", 1), nudge("a", 1)]).await;
    let first = queues.receive(Q, 10, MINUTE).unwrap();
    assert_eq!(first.len(), 1);
    delete(&queues, &first);
    hand.advance(Duration::from_secs(299));
    send(&queues, &hand, vec![nudge("a", 1)]).await;
    assert!(queues.receive(Q, 10, MINUTE).unwrap().is_empty());
    hand.advance(Duration::from_secs(1));
    send(&queues, &hand, vec![nudge("a", 1)]).await;
    assert_eq!(names(&queues.receive(Q, 10, MINUTE).unwrap()), ["a-1"]);
}

#[tokio::test]
async fn a_delayed_message_waits() {
    let (queues, hand) = queues();
    let sender = Sender::new(queues.clone(), hand.now());
    sender.send_later(nudge("a", 1), Duration::from_secs(20)).await.unwrap();
    assert!(queues.receive(QueueName::Later, 10, MINUTE).unwrap().is_empty());
    hand.advance(Duration::from_secs(20));
    assert_eq!(queues.receive(QueueName::Later, 10, MINUTE).unwrap().len(), 1);
}

#[tokio::test]
async fn a_batch_is_refused_in_part() {
    let (queues, _) = queues();
    let good = |dedup: &str| Outgoing {
        queue: Q,
        group: Some("g".into()),
        dedup: Some(dedup.into()),
        delay: None,
        body: "{}".into(),
    };
    let results = queues
        .send(vec![
            good("1"),
            Outgoing { group: None, ..good("2") },
            Outgoing { delay: Some(MINUTE), ..good("3") },
            Outgoing { body: "x".repeat(300_000), ..good("4") },
            Outgoing { group: Some("ein Anlaß".into()), ..good("5") },
            Outgoing { queue: QueueName::Starts, ..good("6") },
            good("7"),
            Outgoing { body: String::new(), ..good("8") },
            Outgoing { body: "a\u{fffe}".into(), ..good("9") },
            Outgoing { body: "a\u{ffff}".into(), ..good("10") },
            Outgoing { body: "a\u{1}".into(), ..good("11") },
            Outgoing { body: "\t\r\n \u{7f}\u{d7ff}\u{fffd}\u{1ffff}".into(), ..good("12") },
        ])
        .await;
    let accepted: Vec<bool> = results.iter().map(Result::is_ok).collect();
    let none = [false; 4];
    assert_eq!(accepted[..7], [true, false, false, false, false, false, true]);
    assert_eq!((&accepted[7..11], accepted[11]), (&none[..], true));
    assert!(matches!(results[1], Err(SendError::Refused { .. })));
    assert_eq!(queues.counts(Q).unwrap().visible, 3);
}

#[tokio::test]
async fn a_backlog_is_counted() {
    let (queues, hand) = queues();
    let begin = hand.now()();
    assert_eq!(queues.backlog(Q).await.unwrap().oldest, None);
    send(&queues, &hand, vec![nudge("a", 1), nudge("a", 2), nudge("b", 1)]).await;
    hand.advance(MINUTE);
    send(&queues, &hand, vec![nudge("c", 1)]).await;
    let first = queues.receive(Q, 1, MINUTE).unwrap();
    let expected = |waiting, in_flight, failing| (waiting, in_flight, Some(failing), Some(begin));
    let found = async || {
        let Backlog { waiting, in_flight, failing, oldest } = queues.backlog(Q).await.unwrap();
        (waiting, in_flight, failing, oldest)
    };
    assert_eq!(found().await, expected(3, 1, 0), "one is handled for the first time");
    hand.advance(MINUTE);
    assert_eq!(found().await, expected(4, 0, 1), "its time is over");
    queues.receive(Q, 1, MINUTE).unwrap();
    assert_eq!(found().await, expected(3, 1, 1), "a second attempt");
    assert_eq!(queues.backlog(QueueName::Later).await.unwrap().waiting, 0);
    drop(first);
}

#[tokio::test]
async fn dead_letters_are_listed_and_sent_again() {
    let (queues, hand) = queues();
    send(&queues, &hand, vec![nudge("a", 1), nudge("a", 2)]).await;
    let received = queues.receive(Q, 10, MINUTE).unwrap();
    for message in &received {
        queues.move_to_dead_letters(Q, message, "it is broken").await.unwrap();
    }
    queues.move_to_dead_letters(Q, &received[0], "it is still broken").await.unwrap();
    delete(&queues, &received);

    let dead = queues.dead_letters(Q).await.unwrap();
    assert_eq!(dead.len(), 2, "moved twice is there once");
    assert_eq!(queues.count_dead_letters(Q).await.unwrap(), 2);
    assert_eq!(queues.count_dead_letters(QueueName::Later).await.unwrap(), 0);
    assert_eq!(dead[0].kind, Some("stack_due"));
    assert_eq!(dead[0].error.as_deref(), Some("it is still broken"));
    assert_eq!(dead[0].group.as_deref(), Some("stack:a"));
    let about = (dead[0].stack.as_ref().map(ToString::to_string), dead[0].run.clone());
    assert_eq!(about, (Some("a".to_owned()), None));

    assert_eq!(queues.redrive(Q).await.unwrap(), 2);
    let again = queues.receive(Q, 10, MINUTE).unwrap();
    assert_eq!(names(&again), ["a-1", "a-2"]);
    assert_eq!(again[0].receive_count, 1);
    assert_ne!(again[0].message_id, received[0].message_id, "its failures count anew");
    assert_eq!(queues.counts(Q).unwrap().dead, 0);
}

#[tokio::test]
async fn what_is_received_for_ever_is_given_up() {
    let (queues, hand) = queues();
    send(&queues, &hand, vec![nudge("a", 1)]).await;
    for _ in 0..50 {
        assert_eq!(queues.receive(Q, 1, MINUTE).unwrap().len(), 1);
        hand.advance(MINUTE);
    }
    assert!(queues.receive(Q, 1, MINUTE).unwrap().is_empty());
    assert_eq!(queues.dead_letters(Q).await.unwrap()[0].error, None);
}

#[tokio::test]
async fn a_test_can_take_what_it_likes() {
    let (queues, hand) = queues();
    send(&queues, &hand, vec![nudge("a", 1), nudge("a", 2), nudge("b", 1)]).await;
    let all = queues.peek(Q).unwrap();
    assert_eq!(names(&all), ["a-1", "a-2", "b-1"]);

    let group = queues.receive_group(Q, "stack:b", 10, MINUTE).unwrap();
    assert_eq!(names(&group), ["b-1"]);
    let second = queues.receive_message(Q, &all[1].message_id, MINUTE).unwrap().unwrap();
    assert_eq!(names(&[second]), ["a-2"]);
    assert!(queues.receive_message(Q, &all[0].message_id, MINUTE).unwrap().is_none());
}

/// The files as they are while the queues are open, without the last words of a closing process:
/// what `kill -9` leaves.
#[tokio::test]
async fn what_was_accepted_survives_a_kill() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hand = Hand::new();
    let queues = Arc::new(LocalQueues::open(&here.path().join("q.db"), hand.now()).unwrap());
    send(&queues, &hand, vec![nudge("a", 1), nudge("a", 2), compare(7, "x")]).await;
    let first = queues.receive(Q, 1, MINUTE).unwrap();
    delete(&queues, &first);
    let _in_flight = queues.receive(Q, 1, MINUTE).unwrap();
    for file in ["q.db", "q.db-wal"] {
        fs::copy(here.path().join(file), there.path().join(file)).unwrap();
    }

    let queues = Arc::new(LocalQueues::open(&there.path().join("q.db"), hand.now()).unwrap());
    send(&queues, &hand, vec![nudge("a", 1)]).await;
    assert_eq!(names(&queues.receive(Q, 10, MINUTE).unwrap()), ["7-x"]);
    hand.advance(MINUTE);
    assert_eq!(names(&queues.receive(Q, 10, MINUTE).unwrap()), ["a-2", "7-x"]);
}

#[tokio::test]
async fn what_a_killed_process_had_received_is_taken_back_at_once() {
    let (queues, hand) = queues();
    send(&queues, &hand, vec![nudge("a", 1), nudge("a", 2)]).await;
    let first = queues.receive(Q, 1, MINUTE).unwrap();
    assert!(queues.receive(Q, 10, MINUTE).unwrap().is_empty());
    queues.take_back().unwrap();
    assert_eq!(names(&queues.receive(Q, 10, MINUTE).unwrap()), ["a-1", "a-2"]);
    // The receipt of the process that is gone ends nothing.
    delete(&queues, &first);
    assert_eq!(names(&queues.peek(Q).unwrap()), ["a-1", "a-2"]);
}

/// GitLab may have asked for the wait.
#[tokio::test]
async fn what_waits_goes_on_waiting_when_its_process_is_gone() {
    let (queues, hand) = queues();
    send(&queues, &hand, vec![nudge("a", 1)]).await;
    let received = queues.receive(Q, 1, MINUTE).unwrap();
    queues.change_visibility(Q, &received[0].receipt, 2 * MINUTE).await.unwrap();
    queues.take_back().unwrap();
    hand.advance(MINUTE);
    assert!(queues.receive(Q, 10, MINUTE).unwrap().is_empty());
    hand.advance(MINUTE);
    assert_eq!(names(&queues.receive(Q, 10, MINUTE).unwrap()), ["a-1"]);
    queues.take_back().unwrap();
    assert_eq!(names(&queues.receive(Q, 10, MINUTE).unwrap()), ["a-1"], "in flight once more");
}

/// The same with a process that really dies.
#[test]
fn what_a_killed_process_was_told_is_there() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("go"), "").unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "local::the_process_that_is_killed", "--ignored", "--nocapture"])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if let Some(number) = line.unwrap().strip_prefix("accepted ") {
            told = number.parse().unwrap();
        }
        if told == 300 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(told, 300);
    let queues = LocalQueues::open(&folder.path().join("q.db"), Hand::new().now()).unwrap();
    let there = names(&queues.peek(Q).unwrap());
    assert!(there.len() >= 300);
    assert!(there.iter().enumerate().all(|(at, name)| *name == format!("a-{}", at + 1)));
}

#[tokio::test]
#[ignore = "started by what_a_killed_process_was_told_is_there"]
async fn the_process_that_is_killed() {
    if !fs::exists("go").unwrap() {
        return;
    }
    let hand = Hand::new();
    let queues = Arc::new(LocalQueues::open("q.db".as_ref(), hand.now()).unwrap());
    for number in 1..=100_000 {
        send(&queues, &hand, vec![nudge("a", number)]).await;
        println!("accepted {number}");
    }
}

#[tokio::test]
async fn two_thousand_stacks_are_no_burden() {
    let folder = tempfile::tempdir().unwrap();
    let hand = Hand::new();
    let queues = Arc::new(LocalQueues::open(&folder.path().join("q.db"), hand.now()).unwrap());
    send(&queues, &hand, (0..2000).map(|n| nudge(&format!("s{}", n % 500), n)).collect()).await;
    let mut received = 0;
    loop {
        let batch = queues.receive(Q, 10, MINUTE).unwrap();
        if batch.is_empty() {
            break;
        }
        received += batch.len();
        delete(&queues, &batch);
    }
    assert_eq!(received, 2000);
}
