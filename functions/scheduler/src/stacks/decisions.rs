//! What people decide about a plan that was shown: they confirm it, discard it, or review it.

use super::{Stacks, approvals::Rules, commands::Order};
use gantry_domain::{
    RunId,
    approval::{Asker, Decision, LastVerdict, NotReviewer, Override, Person, Review, Verdict},
    run::{Ending, Position, RunEvent, RunState, RunType},
    text,
};
use gantry_queue::Failure;
use gantry_store::{Expect, Write, keys, runner::Claim};

impl Stacks<'_> {
    /// Confirms a run, where the rules let whoever asks. With `override_reason` an admin's key goes
    /// past them.
    pub(super) async fn confirm(
        &self,
        order: &Order<'_>,
        run: &RunId,
        comment: Option<String>,
        override_reason: Option<String>,
    ) -> Result<(), Failure> {
        let Some(loaded) = self.ordered_run(order, run).await? else { return Ok(()) };
        let mut run = loaded.run().clone();
        if run.state != RunState::Unconfirmed {
            let why = format!(
                "Only a run that needs confirmation can be confirmed (state: {})",
                run.state
            );
            return self.refuse(order, why, Some(&run.id)).await;
        }
        let Some(stack) = self.runnable(order.stack).await? else {
            let why = "The stack is detached from its GitLab project, so nothing is applied";
            return self.refuse(order, why, Some(&run.id)).await;
        };
        let blocked = loaded.head.as_ref().and_then(|head| head.value.blocked.as_ref());
        if let Some(blocked) = blocked {
            let why = format!("The stack is blocked: {}. Unblock it first.", blocked.reason);
            return self.refuse(order, why, Some(&run.id)).await;
        }
        let overriding = override_reason.filter(|reason| !reason.trim().is_empty());
        if overriding.is_some() && order.person.is_some() {
            let why = text::approval::NOT_AN_ADMINS_KEY;
            return self.refuse(order, why, Some(&run.id)).await;
        }
        let by = overriding.map(|reason| Override { key: order.actor.to_owned(), reason });
        let person = order.person;
        let rules = async {
            match &by {
                // Whatever they say, and whether anybody can be asked.
                Some(_) => Ok(Rules::unread()),
                None => self.rules(&stack, &run, person.map(|person| person.id)).await,
            }
        };
        let lost = async {
            match person {
                Some(person) => self.may_not_confirm(&stack, person, order.request).await,
                None => Ok(None),
            }
        };
        let (rules, lost) = futures::try_join!(Box::pin(rules), Box::pin(lost))?;
        if let Some(why) = lost {
            return self.refuse(order, why, Some(&run.id)).await;
        }
        let verdict = rules.verdict(match (&by, person) {
            (Some(by), _) => Asker::Override(by),
            (None, Some(person)) => Asker::Person(person, rules.standing(person.id)),
            (None, None) => Asker::Key,
        });
        let now = self.deps.now();
        let (last, comment) = match (&verdict, &by) {
            (Verdict::Overridden(_), Some(by)) => (
                LastVerdict::of(&verdict, now),
                Some(text::approval::overriding(&by.reason, comment.as_deref())),
            ),
            (Verdict::MayConfirm { .. }, _) => {
                (LastVerdict::of(&rules.verdict(Asker::Anyone), now), comment)
            }
            (refused, _) => {
                let why = text::approval::not_confirmed(refused);
                let last = rules.last(&run, now);
                run.keep_verdict(last);
                let said = self.outcome(order, false, why, Some(&run.id))?;
                return self.runs.commit(loaded, run, vec![said]).await;
            }
        };
        run.keep_verdict(last);
        run.confirm(now, Some(order.actor), comment)?;
        let said = text::approval::confirmed(&verdict);
        let said = self.outcome(order, true, said, Some(&run.id))?;
        self.runs.commit(loaded, run, vec![said]).await
    }

    /// Keeps what a person decided about a run, if it is theirs to decide. A rejection does not end
    /// the run: it stands until they decide otherwise, also where their approval does not count.
    pub(super) async fn review(
        &self,
        order: &Order<'_>,
        run: &RunId,
        decision: Decision,
        comment: Option<String>,
    ) -> Result<(), Failure> {
        let Some(loaded) = self.ordered_run(order, run).await? else { return Ok(()) };
        let mut run = loaded.run().clone();
        let Some(person) = order.person else {
            return self.refuse(order, text::approval::NOT_A_PERSON, Some(&run.id)).await;
        };
        if run.state != RunState::Unconfirmed || run.run_type != RunType::Tracked {
            let why = format!(
                "Only a run that needs confirmation can be approved or rejected (state: {})",
                run.state
            );
            return self.refuse(order, why, Some(&run.id)).await;
        }
        let Some(stack) = self.runnable(order.stack).await? else {
            let why = "The stack is detached from its GitLab project, so nothing is applied";
            return self.refuse(order, why, Some(&run.id)).await;
        };
        if !run.takes_review_of(person.id) {
            let why = text::approval::ENOUGH_REVIEWS;
            return self.refuse(order, why, Some(&run.id)).await;
        }
        let mut rules = Box::pin(self.rules(&stack, &run, Some(person.id))).await?;
        let takes_back = match rules.may_review(person, decision) {
            Ok(()) => false,
            Err(NotReviewer::OwnRun) if run.is_rejected_by(person.id) => true,
            Err(why) => {
                let why = text::approval::not_reviewed(&why);
                return self.refuse(order, why, Some(&run.id)).await;
            }
        };
        if takes_back {
            rules.taken_back(person.id);
            run.drop_review(person.id);
        } else {
            let review = self.review_of(person, decision, comment);
            rules.reviewed(review.clone());
            run.keep_review(review);
        }
        self.go_by(&rules, &loaded, &mut run)?;
        let applies = run.state == RunState::Confirmed;
        let verdict = rules.verdict(Asker::Anyone);
        let said = match takes_back {
            true => text::approval::taken_back(&verdict, applies),
            false => text::approval::reviewed(decision, &verdict, applies),
        };
        let said = self.outcome(order, true, said, Some(&run.id))?;
        self.runs.commit(loaded, run, vec![said]).await
    }

    fn review_of(&self, person: &Person, decision: Decision, comment: Option<String>) -> Review {
        Review {
            by: person.clone(),
            decision,
            comment: comment.and_then(|said| text::approval::comment(&said)),
            at: self.deps.now(),
        }
    }

    pub(super) async fn discard(
        &self,
        order: &Order<'_>,
        run: &RunId,
        comment: Option<String>,
    ) -> Result<(), Failure> {
        let Some(loaded) = self.ordered_run(order, run).await? else { return Ok(()) };
        let mut run = loaded.run().clone();
        let mut extra = Vec::new();
        let is_handed_out = run.position == Position::Slot || run.waits_for_worker();
        if run.state == RunState::Confirmed && is_handed_out {
            let claim = keys::claim(&run.id, run.attempt);
            if self.deps.store.get::<Claim>(&claim).await?.is_some() {
                let why = "A runner is about to apply the run. Stop it instead.";
                return self.refuse(order, why, Some(&run.id)).await;
            }
            extra.push(Write::Check { key: claim, expect: Expect::Absent });
        }
        if run.apply(RunEvent::Discarded, self.deps.now(), Some(order.actor)).is_err() {
            let why = format!(
                "Only a run that needs confirmation or was confirmed can be discarded (state: {})",
                run.state
            );
            return self.refuse(order, why, Some(&run.id)).await;
        }
        run.comment(comment);
        run.ending = Some(Ending::new(format!("Discarded by {}", order.actor)));
        extra.push(self.outcome(order, true, "Discarded", Some(&run.id))?);
        self.runs.commit(loaded, run, extra).await
    }
}
