//! What stacks are asked for a command, by what is known of the merge request and of them.

use super::{
    Action, Answered, Asked, Command, Line, MOST_LISTED, MOST_STACKS, Place, Refused, Reply, Why,
};
use crate::{
    CommitSha, RunId, StackId, StackSlug,
    rights::{self, Decision, Lacks, Level, Levels, Of, Right, StackLevels, Who},
    run::RunState,
    text::answer,
};

/// What decides.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The comment.
    pub place: Place,
    /// What its author is in the project.
    pub level: Level,
    /// What the installation asks for.
    pub levels: Levels,
    /// GitLab's state of the merge request.
    pub state: String,
    /// Its newest commit.
    pub head: Option<CommitSha>,
    /// Its branch.
    pub branch: String,
    /// The branch is in another project.
    pub from_fork: bool,
    /// The stacks of the project, by their slugs.
    pub stacks: Vec<StackFacts>,
    /// What was decided for its newest commit.
    pub why: Vec<Why>,
}

/// What decides about one stack.
#[derive(Debug, Clone)]
pub struct StackFacts {
    /// The stack.
    pub stack: StackId,
    /// Its slug.
    pub slug: StackSlug,
    /// It takes commands from comments.
    pub takes: bool,
    /// What it asks for beyond what the installation does.
    pub levels: StackLevels,
    /// The merge request affects it.
    pub affected: bool,
    /// It is blocked.
    pub blocked: bool,
    /// The newest preview of the merge request's newest commit.
    pub preview: Option<RunFacts>,
    /// The newest deploy of what was merged.
    pub deploy: Option<RunFacts>,
}

/// What decides about a run.
#[derive(Debug, Clone)]
pub struct RunFacts {
    /// Its id.
    pub run: RunId,
    /// Its state.
    pub state: RunState,
}

impl RunFacts {
    /// A runner has it, or will; nobody is asked about it.
    fn goes_on(&self) -> bool {
        let waits = matches!(self.state, RunState::Unconfirmed | RunState::Confirmed);
        !waits && !self.state.is_final()
    }
}

impl StackFacts {
    fn runs(&self) -> impl Iterator<Item = &RunFacts> {
        self.preview.iter().chain(&self.deploy)
    }
}

/// What becomes of a command. `asks` is how many requests the comment's commands before it make.
pub fn decide(line: &Line, facts: &Facts, asks: usize) -> Answered {
    let answered = Answered { line: line.text.clone(), ..Answered::default() };
    let mut deciding = Deciding { facts, answered, asks };
    match &line.command {
        Command::Plan(names) => deciding.plan(names),
        Command::Confirm(name) => deciding.end_wait(name.as_deref(), true),
        Command::Discard(name) => deciding.end_wait(name.as_deref(), false),
        Command::Stop(name) => deciding.stop(name.as_deref()),
        Command::Unlock { stack, reason } => deciding.unlock(stack.as_deref(), reason),
        Command::Help => deciding.help(false),
        Command::Unknown => deciding.help(true),
        Command::Why => deciding.why(),
    }
    deciding.answered
}

struct Deciding<'a> {
    facts: &'a Facts,
    answered: Answered,
    asks: usize,
}

impl<'a> Deciding<'a> {
    fn refuse(&mut self, stack: Option<&StackFacts>, why: impl Into<String>) {
        let stack = stack.map(|stack| stack.slug.clone());
        self.answered.refused.push(Refused { stack, why: why.into() });
    }

    fn ask(&mut self, stack: &StackFacts, action: Action) {
        let request = self.facts.place.request(self.asks + self.answered.asked.len());
        let (stack, slug) = (stack.stack.clone(), stack.slug.clone());
        self.answered.asked.push(Asked { stack, slug, request, action });
    }

    /// Whether the author may do that with the stack; where not, they are told.
    fn may(&mut self, right: Right, stack: &StackFacts) -> bool {
        if !stack.takes {
            self.refuse(Some(stack), answer::TAKES_NONE);
            return false;
        }
        let who = Who::Person { admin: false, level: Some(self.facts.level) };
        let levels = stack.levels.over(&self.facts.levels);
        match rights::decide(who, right, Of::Project, &levels) {
            Decision::Allowed => return true,
            Decision::Denied(Lacks::Level { needs, has }) => {
                self.refuse(Some(stack), answer::lacks(needs, has));
            }
            Decision::Denied(_) | Decision::Hidden => self.refuse(Some(stack), answer::MAY_NOT),
        }
        false
    }

    /// The stack of that name.
    fn named(&mut self, name: &str) -> Option<&'a StackFacts> {
        let found = self.facts.stacks.iter().find(|stack| stack.slug.as_str() == name);
        if found.is_none() {
            self.refuse(None, answer::no_such_stack(name));
        }
        found
    }

    /// The stack of that name, or that has this run.
    fn named_or_with(&mut self, name: &str) -> Option<&'a StackFacts> {
        let has = |stack: &&StackFacts| stack.runs().any(|run| run.run.as_str() == name);
        match self.facts.stacks.iter().find(has) {
            Some(found) => Some(found),
            None => self.named(name),
        }
    }

    /// Those of the merge request that take commands.
    fn affected(&self) -> Vec<&'a StackFacts> {
        self.facts.stacks.iter().filter(|stack| stack.affected && stack.takes).collect()
    }

    /// Not more than one command asks.
    fn are_few(&mut self, stacks: &[&StackFacts]) -> bool {
        if stacks.len() > MOST_STACKS {
            self.refuse(None, answer::too_many(stacks.len()));
        }
        stacks.len() <= MOST_STACKS
    }

    fn plan(&mut self, names: &[String]) {
        let facts = self.facts;
        let head = facts.head.clone().filter(|_| facts.state == "opened");
        let Some(head) = head else { return self.refuse(None, answer::not_open(&facts.state)) };
        let mut stacks: Vec<&StackFacts> = match names {
            [] => self.affected(),
            names => names.iter().filter_map(|name| self.named(name)).collect(),
        };
        stacks.sort_by(|one, other| one.slug.cmp(&other.slug));
        stacks.dedup_by(|one, other| one.slug == other.slug);
        if names.is_empty() && stacks.is_empty() {
            return self.refuse(None, answer::NONE_AFFECTED);
        }
        if !self.are_few(&stacks) {
            return;
        }
        for stack in stacks {
            if !self.may(Right::Preview, stack) {
                continue;
            }
            match &stack.preview {
                Some(run) if !run.state.is_final() => {
                    self.refuse(Some(stack), answer::still(run.state));
                }
                Some(run) => self.ask(stack, Action::Retry { run: run.run.clone() }),
                None if facts.from_fork => self.refuse(Some(stack), answer::FROM_FORK),
                None => {
                    let (commit, branch) = (head.clone(), facts.branch.clone());
                    self.ask(stack, Action::Start { commit, branch });
                }
            }
        }
    }

    /// Confirms or discards what waits for it.
    fn end_wait(&mut self, name: Option<&str>, confirms: bool) {
        let facts = self.facts;
        if facts.state != "merged" {
            return self.refuse(None, answer::not_merged(&facts.state));
        }
        let waits = |state: RunState| match state {
            RunState::Unconfirmed => true,
            RunState::Confirmed => !confirms,
            _ => false,
        };
        let stack = match name {
            Some(name) => self.named_or_with(name),
            None => {
                let waiting = facts.stacks.iter().filter(|stack| stack.takes);
                let waiting = waiting.filter(|s| s.deploy.as_ref().is_some_and(|r| waits(r.state)));
                match waiting.collect::<Vec<_>>().as_slice() {
                    [] => return self.refuse(None, answer::NOTHING_WAITS),
                    [one] => Some(*one),
                    many => {
                        let names = many.iter().map(|stack| stack.slug.as_str());
                        return self.refuse(None, answer::which(names));
                    }
                }
            }
        };
        let Some(stack) = stack.filter(|stack| self.may(Right::Deploy, stack)) else { return };
        match &stack.deploy {
            None => self.refuse(Some(stack), answer::NO_DEPLOY),
            Some(deploy) if waits(deploy.state) => {
                let run = deploy.run.clone();
                let action = match confirms {
                    true => Action::Confirm { run },
                    false => Action::Discard { run },
                };
                self.ask(stack, action);
            }
            Some(deploy) => self.refuse(Some(stack), answer::does_not_wait(deploy.state)),
        }
    }

    fn stop(&mut self, name: Option<&str>) {
        let stacks: Vec<&StackFacts> = match name {
            Some(name) => self.named_or_with(name).into_iter().collect(),
            None => {
                let mut stacks = self.affected();
                stacks.retain(|stack| stack.runs().any(RunFacts::goes_on));
                stacks
            }
        };
        if name.is_none() && stacks.is_empty() {
            return self.refuse(None, answer::NOTHING_RUNS);
        }
        if !self.are_few(&stacks) {
            return;
        }
        for stack in stacks {
            let is_meant = |run: &&RunFacts| {
                let is_named =
                    name.is_none_or(|name| name == stack.slug.as_str() || name == run.run.as_str());
                is_named && run.goes_on()
            };
            let preview = stack.preview.as_ref().filter(is_meant);
            let deploy = stack.deploy.as_ref().filter(is_meant);
            if preview.is_none() && deploy.is_none() {
                self.refuse(Some(stack), answer::NOTHING_RUNS);
            }
            for (run, right) in [(preview, Right::Preview), (deploy, Right::Deploy)] {
                let Some(run) = run else { continue };
                if self.may(right, stack) {
                    self.ask(stack, Action::Stop { run: run.run.clone() });
                }
            }
        }
    }

    fn unlock(&mut self, name: Option<&str>, reason: &str) {
        let Some(name) = name else { return self.refuse(None, answer::SAY_WHY) };
        let stack = self.named(name);
        let Some(stack) = stack.filter(|stack| self.may(Right::Unblock, stack)) else { return };
        if !stack.blocked {
            return self.refuse(Some(stack), answer::NOT_BLOCKED);
        }
        if reason.trim().is_empty() {
            return self.refuse(Some(stack), answer::SAY_WHY);
        }
        let reason = answer::unblock_reason(reason, self.facts.place.iid);
        self.ask(stack, Action::Unblock { reason });
    }

    fn help(&mut self, unknown: bool) {
        let Facts { levels, stacks, .. } = self.facts;
        // Those of the merge request first.
        let of_it = stacks.iter().filter(|stack| stack.takes && stack.affected);
        let others = stacks.iter().filter(|stack| stack.takes && !stack.affected);
        let slugs: Vec<StackSlug> = of_it.chain(others).map(|stack| stack.slug.clone()).collect();
        let more = slugs.len().saturating_sub(MOST_LISTED);
        let stacks = slugs.into_iter().take(MOST_LISTED).collect();
        // Both have a level.
        let preview = levels.of(Right::Preview).unwrap_or(Level::Owner);
        let deploy = levels.of(Right::Deploy).unwrap_or(Level::Owner);
        self.answered.reply = Some(Reply::Help { unknown, preview, deploy, stacks, more });
    }

    fn why(&mut self) {
        // What runs first.
        let mut all: Vec<&Why> = self.facts.why.iter().collect();
        all.sort_by_key(|why| (!why.runs, &why.stack));
        let more = all.len().saturating_sub(MOST_LISTED);
        let stacks = all.into_iter().take(MOST_LISTED).cloned().collect();
        self.answered.reply = Some(Reply::Why { stacks, more });
    }
}
