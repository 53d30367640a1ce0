//! The local consumer, on tokio's own paused clock.

use crate::support::{name_of, nudge};
use gantry_local_queues::{LocalQueues, consume};
use gantry_queue::{
    Context, Driver, Envelope, Handler, Message, Now, Outgoing, QueueName, Sender, Transport,
};
use gantry_setup::failures::MemoryFailures;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep},
};

const Q: QueueName = QueueName::Events;

struct Running {
    sender: Sender,
    queues: Arc<LocalQueues>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

fn start(handler: Arc<dyn Handler>, side_by_side: usize) -> Running {
    start_on(Q, handler, side_by_side)
}

fn start_on(queue: QueueName, handler: Arc<dyn Handler>, side_by_side: usize) -> Running {
    let (start, began) = (crate::support::Hand::new().now()(), Instant::now());
    let now: Now = Arc::new(move || start + began.elapsed());
    let queues = Arc::new(LocalQueues::in_memory(now.clone()).unwrap());
    let driver = Driver::new(queues.clone(), Arc::new(MemoryFailures::default()));
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let task =
        tokio::spawn(consume(queues.clone(), queue, driver, handler, side_by_side, shutdown));
    Running { sender: Sender::new(queues.clone(), now), queues, stop, task }
}

#[tokio::test(start_paused = true)]
async fn messages_are_handled_at_once_failed_ones_again_and_slow_groups_hold_up_nobody() {
    let began = Instant::now();
    let log: Arc<Mutex<Vec<(String, u64)>>> = Arc::default();
    let (writer, attempts) = (log.clone(), AtomicUsize::new(0));
    let handler = move |_: Context, message: Message| {
        let name = name_of(&message);
        let fails = name == "b-1" && attempts.fetch_add(1, Ordering::SeqCst) < 2;
        let writer = writer.clone();
        async move {
            if name == "slow-1" {
                sleep(Duration::from_secs(20)).await;
            }
            if fails {
                return Err(anyhow::anyhow!("not yet").into());
            }
            writer.lock().unwrap().push((name, began.elapsed().as_secs()));
            Ok(())
        }
    };
    let running = start(Arc::new(handler), 8);
    sleep(Duration::from_secs(10)).await;
    let first = vec![nudge("slow", 1), nudge("a", 1), nudge("b", 1), nudge("b", 2)];
    running.sender.send_all(first).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    running.sender.send_all(vec![nudge("slow", 2), nudge("a", 2)]).await.unwrap();
    sleep(Duration::from_secs(60)).await;

    let seen = log.lock().unwrap().clone();
    let expected =
        [("a-1", 10), ("a-2", 11), ("b-1", 13), ("b-2", 13), ("slow-1", 30), ("slow-2", 30)];
    assert_eq!(seen, expected.map(|(name, at)| (name.to_owned(), at)));
    assert_eq!(running.queues.counts(Q).unwrap(), Default::default());
    running.stop.send(()).unwrap();
    running.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_finished_before_the_end() {
    let done = Arc::new(AtomicUsize::new(0));
    let counter = done.clone();
    let handler = move |_: Context, _: Message| {
        let counter = counter.clone();
        async move {
            sleep(Duration::from_secs(5)).await;
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    };
    let running = start(Arc::new(handler), 2);
    let messages = (0..5).map(|n| nudge(&format!("s{n}"), 1)).collect();
    running.sender.send_all(messages).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    running.stop.send(()).unwrap();
    running.task.await.unwrap();
    assert_eq!(done.load(Ordering::SeqCst), 2, "two at a time, and no third was begun");
    assert_eq!(running.queues.counts(Q).unwrap().visible, 3);
}

#[tokio::test(start_paused = true)]
async fn each_queue_has_the_time_that_its_work_takes() {
    for (queue, takes, is_done) in
        [(QueueName::Source, 600, true), (QueueName::Feedback, 50, true), (Q, 600, false)]
    {
        let attempts = Arc::new(AtomicUsize::new(0));
        let done = Arc::new(AtomicUsize::new(0));
        let (begun, counter) = (attempts.clone(), done.clone());
        let handler = move |_: Context, _: Message| {
            begun.fetch_add(1, Ordering::SeqCst);
            let counter = counter.clone();
            async move {
                sleep(Duration::from_secs(takes)).await;
                counter.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        };
        let running = start_on(queue, Arc::new(handler), 2);
        let body = Envelope { v: 1, message: nudge("a", 1), hops: 0, sent_at: None }.to_body();
        let (group, dedup) = (Some("g".to_owned()), Some("d".to_owned()));
        running.queues.send(vec![Outgoing { queue, group, dedup, delay: None, body }]).await;
        sleep(Duration::from_secs(takes + 5)).await;
        let begun = attempts.load(Ordering::SeqCst);
        assert_eq!((done.load(Ordering::SeqCst) == 1, begun == 1), (is_done, is_done), "{queue}");
    }
}
