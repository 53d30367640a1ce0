//! The wish that a run should end, from whoever has it to whoever runs something.

use tokio::sync::watch;

/// Why a run should end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopReason {
    /// Whose wish it is.
    pub kind: StopKind,
    /// For people: who or what.
    pub text: String,
}

/// Whose wish it is that a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopKind {
    /// Somebody asked for it.
    Asked,
    /// The phase took too long.
    TimedOut,
    /// The run belongs to nobody any more: its token was refused.
    Gone,
}

/// Utters the wish. The first reason stays.
#[derive(Debug, Clone)]
pub struct Stopper(watch::Sender<Option<StopReason>>);

/// Hears the wish.
#[derive(Debug, Clone)]
pub struct StopSignal(watch::Receiver<Option<StopReason>>);

/// A stopper and the signal it gives.
pub fn stop_channel() -> (Stopper, StopSignal) {
    let (sender, receiver) = watch::channel(None);
    (Stopper(sender), StopSignal(receiver))
}

impl Stopper {
    /// Asks for the end. True when nobody had before.
    pub fn stop(&self, kind: StopKind, text: impl Into<String>) -> bool {
        self.0.send_if_modified(|reason| {
            let first = reason.is_none();
            if first {
                *reason = Some(StopReason { kind, text: text.into() });
            }
            first
        })
    }

    /// A further ear.
    pub fn signal(&self) -> StopSignal {
        StopSignal(self.0.subscribe())
    }
}

impl StopSignal {
    /// The reason, once there is one.
    pub fn asked(&self) -> Option<StopReason> {
        self.0.borrow().clone()
    }

    /// Waits for the wish; for ever when nobody can have it any more.
    pub async fn wait(&mut self) -> StopReason {
        if let Ok(reason) = self.0.wait_for(Option::is_some).await
            && let Some(reason) = reason.clone()
        {
            return reason;
        }
        std::future::pending().await
    }
}
