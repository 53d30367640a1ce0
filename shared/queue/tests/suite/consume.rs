//! The local consumer, on tokio's own paused clock.

use crate::support::{name_of, nudge};
use gantry_queue::{
    ConsumeOptions, Context, Driver, Handler, LocalQueues, MemoryFailures, Message, Now, QueueName,
    Sender, consume,
};
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

fn start(handler: Arc<dyn Handler>, options: ConsumeOptions) -> Running {
    let (start, began) = (crate::support::Hand::new().now()(), Instant::now());
    let now: Now = Arc::new(move || start + began.elapsed());
    let queues = Arc::new(LocalQueues::in_memory(now.clone()).unwrap());
    let driver = Driver::new(queues.clone(), Arc::new(MemoryFailures::default()));
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let task = tokio::spawn(consume(queues.clone(), Q, driver, handler, options, shutdown));
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
    let running = start(Arc::new(handler), ConsumeOptions::default());
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
    let options = ConsumeOptions { side_by_side: 2, ..ConsumeOptions::default() };
    let running = start(Arc::new(handler), options);
    let messages = (0..5).map(|n| nudge(&format!("s{n}"), 1)).collect();
    running.sender.send_all(messages).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    running.stop.send(()).unwrap();
    running.task.await.unwrap();
    assert_eq!(done.load(Ordering::SeqCst), 2, "two at a time, and no third was begun");
    assert_eq!(running.queues.counts(Q).unwrap().visible, 3);
}
