//! A module's runs. No runner takes one: its configuration is read, its tests run as runs of their
//! own, and what became of them is its end.
//!
//! Everything here looks at what is there and does what is missing, so that it may be repeated
//! after any step.

use super::Stacks;
use crate::{
    runs::{Loaded, written},
    trouble::gitlab_failure,
};
use gantry_domain::{
    ProjectId, RunId, StackId,
    module::{self, ModuleConfig, Packed, TestCase, TestName},
    run::{Effect, Ending, NewRun, Position, Run, RunEvent, RunState, RunType, TestOf},
    stack::Stack,
    text::{self, module::Outcome},
};
use gantry_queue::{Failure, SourceMessage};
use gantry_store::{
    Expect, Stored, Write, keys,
    scheduler::{RunEntry, Suite, VersionRecord, VersionState},
};
use semver::Version;
use std::collections::BTreeMap;

/// How large a configuration may be once its defaults are in every test: it has to fit into one
/// record.
const LARGEST: usize = 256 << 10;

impl Stacks<'_> {
    /// Brings all runs of a module that are under way as far as they can go now.
    pub(crate) async fn advance_tests(&self, stack: &StackId) -> Result<(), Failure> {
        let partition = keys::stack_partition(stack);
        let open = self.deps.store.query_all::<RunEntry>(&partition, keys::OPEN_TESTS).await?;
        for entry in open {
            let Some(loaded) = self.runs.peek(&entry.value.run).await? else { continue };
            match loaded.run().state {
                RunState::Queued => Box::pin(self.read_config(loaded)).await?,
                RunState::Testing => Box::pin(self.run_tests(loaded)).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads what the commit says is to be tested, once.
    async fn read_config(&self, loaded: Loaded) -> Result<(), Failure> {
        if loaded.head.as_ref().is_some_and(|head| head.value.blocked.is_some()) {
            return Ok(());
        }
        let mut run = loaded.run().clone();
        if let Some(why) = self.outdated(&run).await? {
            return self.cancel_queued(&run.id, &why).await;
        }
        let Some(stack) = self.runnable(&run.stack).await? else { return Ok(()) };
        let Some(project) = run.project() else { return Ok(()) };
        let read = match self.config_of(project, &stack, &run).await {
            Ok(read) => read,
            // The reports of the module's tests come behind this message: it must not wait.
            Err(failure) if failure.retry_after.is_some() => {
                tracing::warn!(run.id = %run.id, "the configuration cannot be read right now: {:#}", failure.error);
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        let now = self.deps.now();
        match read {
            Ok(config) => {
                run.apply(RunEvent::TestsBegun, now, None)?;
                let suite = {
                    let suite = Suite { config, packed: None };
                    Write::put(keys::suite(&run.id), Expect::Any, &suite)?
                };
                self.runs.commit(loaded, run, vec![suite]).await
            }
            Err(problem) => {
                run.apply(RunEvent::Failed, now, None)?;
                let mut end = Ending::new(&problem);
                // The same commit has the same file: asking again would say the same.
                end.in_terraform = true;
                end.errors.push(problem);
                run.ending = Some(end);
                let failed = self.failed_version(&run, None).await?;
                self.runs.commit(loaded, run, failed).await
            }
        }
    }

    /// The configuration of a commit, or what is wrong with it.
    async fn config_of(
        &self,
        project: ProjectId,
        stack: &Stack,
        run: &Run,
    ) -> Result<Result<ModuleConfig, String>, Failure> {
        let client = self.deps.gitlab().await?;
        let path = match stack.settings.project_root.as_str() {
            "" => module::config::PATH.to_owned(),
            root => format!("{root}/{}", module::config::PATH),
        };
        let found =
            client.file(project, run.commit.as_str(), &path).await.map_err(gitlab_failure)?;
        Ok(match found {
            None => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                let beside = client.files_in(project, &run.commit, folder).await;
                let beside = beside.map_err(gitlab_failure)?;
                let hint = module::misnamed(&beside).map(|name| {
                    format!("; {folder}/{} exists but is not read", text::cut(name, 60))
                });
                Err(format!(
                    "{path}, which defines what to test, is not in the commit{}",
                    hint.unwrap_or_default()
                ))
            }
            Some(bytes) => module::read(&bytes)
                .map_err(|error| format!("{path}: {error}"))
                .and_then(|config| fits(config, &path)),
        })
    }

    /// Makes the test runs that are missing, lets those go whose time has come, and ends the run
    /// when all of them have ended.
    async fn run_tests(&self, loaded: Loaded) -> Result<(), Failure> {
        let run = loaded.run().clone();
        let Some(suite) = self.deps.store.get::<Suite>(&keys::suite(&run.id)).await? else {
            return Ok(());
        };
        let tests = &suite.value.config.tests;
        let places: Vec<_> =
            tests.iter().map(|case| keys::run(&Run::test_id(&run, &case.name))).collect();
        let found = self.deps.store.get_many::<Run>(&places).await?;
        let states: BTreeMap<TestName, RunState> = found
            .into_iter()
            .filter_map(|found| Some((found.value.test?.case.name, found.value.state)))
            .collect();
        if let Some(who) = &run.stop_asked {
            let under_way: Vec<_> = states
                .iter()
                .filter(|(_, state)| !state.is_final())
                .map(|(name, _)| name)
                .collect();
            for name in &under_way {
                self.stop_test(&Run::test_id(&run, name), who).await?;
            }
            return match under_way.is_empty() {
                true => self.conclude(loaded, &suite.value, &states).await,
                false => Ok(()),
            };
        }
        let missing: Vec<_> =
            tests.iter().filter(|case| !states.contains_key(&case.name)).collect();
        if !missing.is_empty() {
            if let Some(why) = self.outdated(&run).await? {
                let mut run = run;
                run.stop_asked = Some(why);
                run.outstanding.insert(Effect::Advance);
                return self.runs.commit(loaded, run, Vec::new()).await;
            }
            let Some(stack) = self.runnable(&run.stack).await? else { return Ok(()) };
            for case in missing {
                self.make_test(&stack, &run, case).await?;
            }
            // The next look finds them.
            return self.nudge_soon(&run).await;
        }
        let ready = module::ready(tests, &module::passed(&states));
        for (case, because) in ready.skip {
            let skipped = text::module::skipped(because);
            self.cancel_queued(&Run::test_id(&run, &case.name), &skipped).await?;
        }
        for case in ready.start {
            self.let_test_go(&Run::test_id(&run, &case.name)).await?;
        }
        match states.values().all(|state| state.is_final()) {
            true => self.conclude(loaded, &suite.value, &states).await,
            false => Ok(()),
        }
    }

    async fn make_test(&self, stack: &Stack, suite: &Run, case: &TestCase) -> Result<(), Failure> {
        let head = self.runs.head(&stack.id).await?;
        let position = if case.depends_on.is_empty() { Position::Queue } else { Position::Nowhere };
        let test = TestOf {
            suite: suite.id.clone(),
            case: case.clone(),
            tracked: suite.run_type == RunType::Tracked,
        };
        let run = NewRun::test(suite, test, position, self.deps.now());
        // Stale can mean that it is there: the next look tells.
        written(self.runs.create(head, run, Vec::new()).await?, &stack.slug)
    }

    /// A test whose dependencies have passed goes to the queue.
    async fn let_test_go(&self, id: &RunId) -> Result<(), Failure> {
        let Some(loaded) = self.runs.peek(id).await? else { return Ok(()) };
        let mut run = loaded.run().clone();
        if run.state != RunState::Queued || run.position != Position::Nowhere {
            return Ok(());
        }
        run.position = Position::Queue;
        run.outstanding.insert(Effect::Dispatch);
        self.runs.commit(loaded, run, Vec::new()).await
    }

    async fn stop_test(&self, id: &RunId, who: &str) -> Result<(), Failure> {
        let Some(loaded) = self.runs.peek(id).await? else { return Ok(()) };
        let mut run = loaded.run().clone();
        if run.state.is_final() || run.stop_asked.is_some() {
            return Ok(());
        }
        let extra = self.end(&mut run, who).await?;
        self.runs.commit(loaded, run, extra).await
    }

    /// Ends a module's run whose tests have all ended.
    async fn conclude(
        &self,
        loaded: Loaded,
        suite: &Suite,
        states: &BTreeMap<TestName, RunState>,
    ) -> Result<(), Failure> {
        let config = &suite.config;
        let mut run = loaded.run().clone();
        let now = self.deps.now();
        if let Some(who) = run.stop_asked.clone() {
            run.apply(RunEvent::Stopped, now, None)?;
            run.ending = Some(Ending::new(text::stopped_by(&who)));
            return self.runs.commit(loaded, run, Vec::new()).await;
        }
        if let Some(summary) = module::failure(&config.tests, states) {
            run.apply(RunEvent::Failed, now, None)?;
            run.ending = Some(Ending { in_terraform: true, ..Ending::new(summary) });
            let writes = self.failed_version(&run, config.module_version.as_ref()).await?;
            return self.runs.commit(loaded, run, writes).await;
        }
        let Some((said, writes)) = self.version_of(&run, suite).await? else {
            return Ok(());
        };
        if let Err(reason) = &said {
            run.apply(RunEvent::Failed, now, None)?;
            run.ending = Some(Ending { in_terraform: true, ..Ending::new(reason) });
            return self.runs.commit(loaded, run, writes).await;
        }
        run.verdict = said.ok().map(|said| text::module::passed(config.tests.len(), &said));
        run.apply(RunEvent::TestsPassed, now, None)?;
        self.runs.commit(loaded, run, writes).await
    }

    /// What the passed tests mean for the module's versions; none while the code is being packed.
    /// An error is why it cannot be packed.
    async fn version_of(&self, run: &Run, suite: &Suite) -> Result<Option<Concluded>, Failure> {
        let Some(number) = run.version.as_ref().or(suite.config.module_version.as_ref()) else {
            return Ok(Some((Ok(Outcome::NoNumber), Vec::new())));
        };
        let place = keys::version(&run.stack, number);
        let known = self.deps.store.get::<VersionRecord>(&place).await?;
        if known.as_ref().is_some_and(|known| known.value.state == VersionState::Active) {
            return Ok(Some((Ok(Outcome::Exists(number.clone())), Vec::new())));
        }
        if run.run_type != RunType::Tracked {
            return Ok(Some((Ok(Outcome::WouldMake(number.clone())), Vec::new())));
        }
        let digest = match &suite.packed {
            Some(Packed::Done { digest }) => digest.clone(),
            Some(Packed::Impossible { reason }) => {
                let failed = self.failed_version(run, Some(number)).await?;
                return Ok(Some((Err(reason.clone()), failed)));
            }
            None => {
                self.ask_for_package(run).await?;
                return Ok(None);
            }
        };
        let mut record = self.version_record(run, number, VersionState::Active);
        record.digest = Some(digest);
        let expect = known.as_ref().map_or(Expect::Absent, Stored::unchanged);
        let writes = vec![Write::put(place, expect, &record)?];
        Ok(Some((Ok(Outcome::Made(number.clone())), writes)))
    }

    /// Has the module's code packed for the registry. The answer comes as a message.
    async fn ask_for_package(&self, run: &Run) -> Result<(), Failure> {
        let Some(stack) = self.runnable(&run.stack).await? else { return Ok(()) };
        let message = SourceMessage::Package {
            stack: run.stack.clone(),
            run: run.id.clone(),
            repository: run.repository.clone(),
            commit: run.commit.clone(),
            root: stack.settings.project_root,
        };
        Ok(self.deps.sender.send(message).await?)
    }

    /// A module's code was packed, or cannot be.
    pub(crate) async fn on_packaged(&self, run: &RunId, packed: Packed) -> Result<(), Failure> {
        let place = keys::suite(run);
        let Some(found) = self.deps.store.get::<Suite>(&place).await? else { return Ok(()) };
        if found.value.packed.is_none() {
            let suite = Suite { packed: Some(packed), ..found.value.clone() };
            let write = Write::put(place, found.unchanged(), &suite)?;
            written(self.deps.store.write(vec![write]).await?, run)?;
        }
        match self.runs.peek(run).await? {
            Some(loaded) if loaded.run().state == RunState::Testing => {
                Box::pin(self.run_tests(loaded)).await
            }
            _ => Ok(()),
        }
    }

    /// Records that a version's tests have failed, unless it exists.
    async fn failed_version(
        &self,
        run: &Run,
        configured: Option<&Version>,
    ) -> Result<Vec<Write>, Failure> {
        let Some(number) = run.version.as_ref().or(configured) else { return Ok(Vec::new()) };
        if run.run_type != RunType::Tracked {
            return Ok(Vec::new());
        }
        let place = keys::version(&run.stack, number);
        let known = self.deps.store.get::<VersionRecord>(&place).await?;
        if known.as_ref().is_some_and(|known| known.value.state == VersionState::Active) {
            return Ok(Vec::new());
        }
        let record = self.version_record(run, number, VersionState::Failed);
        let expect = known.as_ref().map_or(Expect::Absent, Stored::unchanged);
        Ok(vec![Write::put(place, expect, &record)?])
    }

    fn version_record(&self, run: &Run, number: &Version, state: VersionState) -> VersionRecord {
        VersionRecord {
            version: number.clone(),
            state,
            commit: run.commit.clone(),
            run: run.id.clone(),
            tag: run.version.as_ref().map(|_| run.git_ref.clone()),
            at: self.deps.now(),
            digest: None,
            yanked: None,
        }
    }
}

/// What passed tests come to, with what is to be written for it; or why nothing can come of them.
type Concluded = (Result<Outcome, String>, Vec<Write>);

fn fits(config: ModuleConfig, path: &str) -> Result<ModuleConfig, String> {
    let bytes = serde_json::to_vec(&config).map_or(usize::MAX, |json| json.len());
    if bytes <= LARGEST {
        return Ok(config);
    }
    Err(format!("{path}: with the defaults applied to every test, the variables exceed 256 kB"))
}
