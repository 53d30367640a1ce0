//! How a command ended, for scripts.

use crate::answers::State;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// What was asked for is done: applied, no changes, previewed, shown.
    Done,
    /// It failed, was refused, or the Gantry was not reachable.
    Failed,
    /// It was called in a wrong way.
    Usage,
    /// The run's plan has changes and needs confirmation.
    NeedsConfirmation,
    /// The run was discarded, canceled or stopped before it was applied.
    Dropped,
    /// Something was changed elsewhere.
    Drifted,
    /// A person pressed Ctrl-C; the run goes on.
    Interrupted,
}

impl Ended {
    /// The exit code of the program.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NeedsConfirmation => 3,
            Self::Dropped => 4,
            Self::Drifted => 5,
            // As shells count it: 128 and the number of the signal.
            Self::Interrupted => 130,
        }
    }

    /// What a run's state is for who followed it.
    pub(crate) fn of(state: State) -> Self {
        match state {
            State::Failed => Self::Failed,
            State::Unconfirmed => Self::NeedsConfirmation,
            State::Stopped | State::Canceled | State::Discarded => Self::Dropped,
            _ => Self::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::EXIT_CODES;

    #[test]
    fn a_script_can_tell_how_a_run_ended() {
        let code = |state| Ended::of(state).code();
        assert_eq!(code(State::Finished), 0);
        assert_eq!(code(State::Failed), 1);
        assert_eq!(code(State::Unconfirmed), 3);
        for state in [State::Stopped, State::Canceled, State::Discarded] {
            assert_eq!(code(state), 4);
        }
        let all = [
            Ended::Done,
            Ended::Failed,
            Ended::Usage,
            Ended::NeedsConfirmation,
            Ended::Dropped,
            Ended::Drifted,
            Ended::Interrupted,
        ];
        for ended in all {
            let line = format!("  {} ", ended.code());
            assert!(EXIT_CODES.contains(&line), "{line:?} is not in the help");
        }
    }
}
