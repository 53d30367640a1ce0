//! GitLab in trouble for ten minutes, in the middle of something.
//!
//! A story names its moments ([`World::moment`]). It is told once as it is, then with GitLab in a
//! mood that begins at one of them, some steps into what follows: the end must be the same.

use crate::{
    World,
    seed::{asked, random},
};
use gantry_fake_gitlab::{Fault, Matcher};
use rand::RngExt as _;
use std::time::Duration;

const LASTS: Duration = Duration::from_secs(600);
/// Then everything has been tried again: what waits longest waits a quarter of an hour.
const AFTERWARDS: Duration = Duration::from_secs(20 * 60);
/// More steps than what follows a moment takes in one go, sometimes.
const STEPS: usize = 12;

/// How GitLab answers every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Not at all.
    Hangs,
    /// With a web page, as if all were well.
    Page,
    /// With nothing, as if all were well.
    Nothing,
    /// With another service's JSON, as if all were well.
    AnotherService,
    /// With a redirect.
    Redirects,
    /// With 403, in GitLab's words.
    Forbids,
    /// With 404, in GitLab's words.
    FindsNothing,
    /// With 429.
    TooMany,
    /// It does what it is asked, and the connection breaks.
    Resets,
    /// It does what it is asked, and answers when nobody waits any more.
    Late,
}

/// A mood, and when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    mood: Mood,
    moment: usize,
    /// How many things happen between the moment and the beginning.
    after: usize,
}

impl Mood {
    const ALL: [Self; 10] = [
        Self::Hangs,
        Self::Page,
        Self::Nothing,
        Self::AnotherService,
        Self::Redirects,
        Self::Forbids,
        Self::FindsNothing,
        Self::TooMany,
        Self::Resets,
        Self::Late,
    ];

    fn fault(self) -> Fault {
        match self {
            Self::Hangs => Fault::Hang,
            Self::Page => Fault::page(200),
            Self::Nothing => Fault::nothing(),
            Self::AnotherService => Fault::another_service(),
            Self::Redirects => Fault::redirect(),
            Self::Forbids => Fault::saying(403, "403 Forbidden"),
            Self::FindsNothing => Fault::saying(404, "404 Project Not Found"),
            Self::TooMany => Fault::RateLimited { retry_after: 60 },
            Self::Resets => Fault::ApplyThenDrop,
            Self::Late => Fault::ApplyThenHang,
        }
    }

    /// How often is looked whether something can go on. Each call that nobody answers takes a
    /// second of real time.
    fn look(self) -> Duration {
        match self {
            Self::Hangs | Self::Late => LASTS / 3,
            _ => LASTS / 20,
        }
    }
}

/// All moods at all moments where `GANTRY_MOODS=all` says so; each at one of them, chosen by the
/// seed, otherwise.
pub(crate) fn chosen(story: &str, moments: usize) -> Vec<Trouble> {
    let mut random = random((story, "moods"));
    let all = asked("GANTRY_MOODS") == "all";
    let mut chosen = Vec::new();
    for mood in Mood::ALL {
        let one = random.random_range(0..moments);
        for moment in (0..moments).filter(|moment| all || *moment == one) {
            chosen.push(Trouble { mood, moment, after: random.random_range(0..STEPS) });
        }
    }
    chosen
}

impl World {
    /// A moment at which GitLab may get into trouble. Then everything happens that can happen.
    pub async fn moment(&mut self) {
        let number = self.moments;
        self.moments += 1;
        if let Some(trouble) = self.mode.trouble.filter(|trouble| trouble.moment == number) {
            self.happen(trouble.after).await;
            self.gitlab.fail_always(Matcher::any(), trouble.mood.fault());
            self.endure(LASTS, trouble.mood.look()).await;
            self.gitlab.clear_faults();
            self.pass(AFTERWARDS).await;
        }
        self.catch_up().await;
    }
}
