//! One claimed phase while it is executed: its folders, its program, its backend, and the steps
//! that both phases are made of.

use crate::{
    api::{Api, http_client, milliseconds},
    beat::Guard,
    cli_config,
    config::Config,
    failure::Failure,
    layers::Layer,
    log::Log,
    record::{Held, Record, Stage},
    sources::{Sources, Unpacked},
    state::{Access, StateServer},
    warnings,
};
use gantry_domain::{
    masking::{Masker, hide_import_id},
    plan::Marked,
    protocol::{ClaimAnswer, Report, ReportKind, StateDoubt},
    run::{Phase, RunType},
    stack::Tool,
};
use gantry_engine::{
    Confinement, Ended, Environment, OnStop, Processes, Sink, Spec, StopSignal, Stopper, Strength,
    Terraform,
    diagnostics::{Diagnostics, Reported, Warned},
    files,
    kept::KeptOutput,
    process,
    tool::{self, ToolError},
    workspace::{MARKED, PLAN, WORKSPACE},
};
use std::{
    fs::{OpenOptions, Permissions},
    future::Future,
    io::BufReader,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown, lchown},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tokio::task::spawn_blocking;

/// What errors show of a line that came in parts.
const TOO_LONG: &str = "(line longer than 1 MiB, see the log)";

/// Everything that a phase works with.
pub(crate) struct Job {
    pub(crate) config: Config,
    pub(crate) api: Api,
    pub(crate) claim: ClaimAnswer,
    pub(crate) log: Log,
    pub(crate) masker: Arc<Masker>,
    pub(crate) stopper: Stopper,
    pub(crate) stop: StopSignal,
    /// How far it came.
    pub(crate) progress: Progress,
    pub(crate) folders: Folders,
    pub(crate) state: Option<StateServer>,
    /// The installation's CLI configuration.
    pub(crate) installations: Option<String>,
    /// Why a person must look at the state, if somebody must.
    pub(crate) doubt: Option<StateDoubt>,
    /// What the tool has warned of and nobody was told yet.
    pub(crate) warned: Warned,
    /// The run's folder, and what is written down of the run.
    pub(crate) held: Option<(Held, Record)>,
    /// What it starts, which ends with it.
    pub(crate) processes: Processes,
    /// The commit's files, where a later run on this machine may have them.
    pub(crate) source: Option<(Sources, Unpacked)>,
    /// The same where many runs see them in place.
    pub(crate) layer: Option<Layer>,
    /// Its plan, once that has begun, where it is told later.
    planning: Option<Planning>,
    state_password: String,
    sequence: u32,
}

/// A plan whose beginning is told when it has lasted for a moment.
struct Planning {
    since: Instant,
    told: Guard,
}

/// How far a phase came, which decides what its end is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing will be applied.
    Planning,
    /// The run is applying, but Terraform has not begun to.
    BeforeApply,
    /// Something may have been applied.
    Applying,
    /// What a test made is being destroyed.
    Destroying,
}

/// A run's folders on this machine. They are the same for plan and apply, so that a path that a
/// plan holds is still right when it is applied here.
pub(crate) struct Folders {
    /// All of the run's.
    pub(crate) run: PathBuf,
    /// Workspace and plan.
    pub(crate) job: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) temporary: PathBuf,
    /// Providers that an earlier run has left here, which no process of this one can change.
    pub(crate) providers: PathBuf,
    /// The plan that is shown and applied, which no process of the run can change.
    pub(crate) shown: PathBuf,
    /// The system's settings as the run's processes see them. None of them can change it.
    pub(crate) settings: PathBuf,
    /// States on their way; kept when they do not get there.
    pub(crate) states: PathBuf,
}

impl Folders {
    pub(crate) fn new(run: PathBuf) -> Self {
        Self {
            job: run.join("job"),
            home: run.join("home"),
            temporary: run.join("tmp"),
            providers: run.join("providers"),
            shown: run.join("shown"),
            settings: run.join("etc"),
            states: run.join(crate::state::STATES),
            run,
        }
    }

    /// Where the tool writes its plan, and hooks may read it.
    pub(crate) fn made_plan(&self) -> PathBuf {
        self.job.join(PLAN)
    }

    /// The plan as it was made.
    pub(crate) fn plan(&self) -> PathBuf {
        self.shown.join(PLAN)
    }

    /// What it marks as sensitive, for the runner.
    pub(crate) fn marked(&self) -> PathBuf {
        self.shown.join(MARKED)
    }

    /// How what a test created is destroyed.
    pub(crate) fn destroy_plan(&self) -> PathBuf {
        self.job.join("destroy.tfplan")
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.job.join(WORKSPACE)
    }

    /// What Terraform says while it applies, so that it can go on when the runner cannot.
    pub(crate) fn output(&self) -> PathBuf {
        self.run.join("output")
    }

    /// The archive of source or plan while it is unpacked or sent.
    pub(crate) fn archive(&self) -> PathBuf {
        self.run.join("archive.tar.gz")
    }
}

/// The conditions under which a process is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// It can be ended.
    Plan,
    /// It is a shell command, which can be ended with all that it started.
    Hook,
    /// It is never ended, only asked once.
    Apply,
    /// It is a shell command that may change the state: it gets time to end with all that it started.
    Task,
}

/// How many times longer than a plan a task gets between asking it to end and ending it: a tool in it
/// may have to finish what is in flight and to write its state.
const PATIENCE_WITH_TASK: u32 = 10;

impl Job {
    pub(crate) fn new(
        config: Config,
        api: Api,
        claim: ClaimAnswer,
        log: Log,
        masker: Arc<Masker>,
        state_password: String,
        stopper: Stopper,
    ) -> Self {
        let folders = Folders::new(config.work.join(claim.run.as_str()));
        let stop = stopper.signal();
        let progress = match claim.phase {
            Phase::Plan => Progress::Planning,
            Phase::Apply => Progress::BeforeApply,
        };
        let processes = Processes::begin(&config.program, config.own_process);
        Self {
            config,
            api,
            claim,
            log,
            masker,
            stopper,
            stop,
            progress,
            folders,
            state: None,
            installations: None,
            doubt: None,
            warned: Warned::default(),
            held: None,
            processes,
            source: None,
            layer: None,
            planning: None,
            state_password,
            sequence: 0,
        }
    }

    /// Nothing is started where it cannot be confined, unless an admin has said that it need not be:
    /// then there is no strength.
    pub(crate) fn check_confinement(
        &self,
    ) -> impl Future<Output = Result<Option<Strength>, Failure>> + Send + use<> {
        let (confinement, user) = (self.config.confinement.clone(), self.config.user);
        async move {
            let Some(confinement) = confinement else {
                tracing::warn!("runs are not confined and can read whatever their user can");
                return Ok(None);
            };
            match confinement.check(user).await {
                Ok(strength) => {
                    tracing::info!("{strength}");
                    Ok(Some(strength))
                }
                Err(error) => Err(Failure::other(error.to_string())),
            }
        }
    }

    /// Starts nothing from here on without a view of its own if the check had one: others rely on it.
    pub(crate) fn keep_to(&mut self, strength: Option<Strength>) {
        if strength.is_some_and(|strength| strength.own_view) {
            let confinement = self.config.confinement.take();
            self.config.confinement = confinement.map(Confinement::needing_view);
        }
    }

    /// What the processes of this run are kept from: everything but its own folders.
    fn confinement(&self, program: &Path) -> Result<Option<Confinement>, Failure> {
        let Folders { job, home, temporary, providers, shown, settings, .. } = &self.folders;
        let Some(machine) = self.config.confinement.clone() else { return Ok(None) };
        let run = machine.reading(program).reading(providers).reading(shown);
        let run = run.writing(job).writing(home);
        let mirrors = self.installations.as_deref().map(gantry_engine::cli_config::mirrors);
        let mirrors = mirrors.into_iter().flatten().filter(|mirror| mirror.exists());
        let run = mirrors.into_iter().try_fold(run, |run, mirror| {
            run.reading_named(&mirror).map_err(|error| {
                Failure::other(format!(
                    "The CLI configuration of this machine names a mirror that runs cannot use: \
                     {error}"
                ))
            })
        })?;
        Ok(Some(run.with_temporary(temporary).with_settings(settings)?))
    }

    /// Makes the run's folders, empty ones.
    pub(crate) async fn make_folders(&mut self) -> Result<(), Failure> {
        let Folders { run, job, home, temporary, providers, .. } = &self.folders;
        // Passed through by the user that runs Terraform, and listed by nobody else.
        let held = Held::make(run, 0o711).await?;
        let record = Record {
            api: self.config.api.clone(),
            token: self.claim.run_token.clone(),
            run: self.claim.run.to_string(),
            stage: Stage::Before,
            root: self.claim.project_root.clone(),
            sequence: 0,
            end: None,
        };
        held.write(&record)?;
        self.held = Some((held, record));
        for folder in [job, home, temporary, providers] {
            files::make_fresh_folder(folder, 0o700)?;
        }
        // Passed through too; only the plan in there can be read.
        files::make_fresh_folder(&self.folders.shown, 0o711)?;
        files::make_fresh_folder(&self.folders.settings, 0o755)?;
        files::make_folder(&self.folders.workspace(), 0o700)?;
        match std::fs::remove_file(self.folders.archive()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Goes on to the next part of the phase. What follows is known to whoever finds the run.
    pub(crate) fn enter(&mut self, progress: Progress) -> Result<(), Failure> {
        if progress == Progress::Applying {
            self.note(|record| record.stage = Stage::Applying)?;
        }
        self.progress = progress;
        Ok(())
    }

    fn note(&mut self, change: impl FnOnce(&mut Record)) -> std::io::Result<()> {
        if let Some((held, record)) = &mut self.held {
            change(record);
            held.write(record)?;
        }
        Ok(())
    }

    /// For what is told to the runner API as well.
    fn note_if_possible(&mut self, change: impl FnOnce(&mut Record)) {
        if let Err(error) = self.note(change) {
            tracing::error!(%error, "the run's progress could not be recorded");
        }
    }

    /// Finds the program, serves the state and gathers what Terraform sees, once the workspace
    /// is there.
    pub(crate) async fn make_terraform(&mut self) -> Result<Terraform, Failure> {
        let folder = self.project_root()?;
        let path = self.config.environment.get("PATH").unwrap_or_default().to_owned();
        let named = self.claim.tool_version.as_deref().filter(|version| !version.is_empty());
        let default = self.config.terraform_version.as_deref();
        let default = default.filter(|_| self.claim.tool == Tool::Terraform);
        let tools = &self.config.tools;
        let confined = self.config.confinement.as_ref();
        let releases = &self.config.releases;
        let found =
            match tool::find(self.claim.tool, named, &path, tools, releases, http_client, confined)
                .await
            {
                Err(ToolError::NotInstalled(_)) if default.is_some() => {
                    let tool = self.claim.tool;
                    tool::find(tool, default, &path, tools, releases, http_client, confined).await?
                }
                found => found?,
            };
        self.log.say(&format!("{} {}", self.claim.tool.command(), found.version));

        let mut environment = self.environment();
        if self.claim.manage_state {
            let access = match self.claim.run_type {
                RunType::Tracked | RunType::Test => Access::Write,
                RunType::Proposed => Access::Pinned,
            };
            let api = self.api.with_patience(self.config.timings.state_patience);
            let (log, password) = (self.log.clone(), self.state_password.as_str());
            let server =
                StateServer::start(api, log, password, &self.folders.states, access).await?;
            server.backend().describe_to(&mut environment);
            self.state = Some(server);
        }
        cli_config::write(self)?;
        if let Some(user) = self.config.user {
            let Folders { job, home, temporary, providers, .. } = &self.folders;
            match self.layer {
                // All that is in there are files that are the user's already.
                Some(_) => lchown(job, Some(user.uid), Some(user.gid))?,
                None => files::give_to(job, user)?,
            }
            for folder in [home, temporary, providers] {
                files::give_to(folder, user)?;
            }
        }
        Ok(Terraform {
            confinement: self.confinement(&found.program)?,
            program: found.program,
            folder,
            var_files: Vec::new(),
            environment,
            user: self.config.user,
            processes: Some(self.processes.clone()),
        })
    }

    /// The folder to run in, as a folder of the workspace that no link leads out of.
    pub(crate) fn project_root(&self) -> Result<PathBuf, Failure> {
        let root = &self.claim.project_root;
        files::within(&self.folders.job, &Path::new(WORKSPACE).join(root))
            .ok_or_else(|| Failure::other(format!("The source has no folder {root:?}")))
    }

    /// Takes the plan out of the reach of the run's processes, before it is shown: what hooks make of
    /// the one in their reach changes nothing any more.
    pub(crate) fn take_plan(&self) -> std::io::Result<()> {
        let mut made = self.open_own(&self.folders.made_plan())?;
        let plan = self.folders.plan();
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&plan)?;
        std::io::copy(&mut made, &mut file)?;
        if let Some(user) = self.config.user {
            fchown(&file, None, Some(user.gid))?;
            file.set_permissions(Permissions::from_mode(0o440))?;
        }
        Ok(())
    }

    /// From here on what the plan marks as sensitive is in nothing that is shown of the run. It is kept
    /// for the apply, and for whoever finds the run.
    pub(crate) async fn hide_marked(&mut self, marked: Marked) -> std::io::Result<()> {
        files::write_private(&self.folders.marked(), &serde_json::to_vec(&marked)?)?;
        self.hide(move || marked).await
    }

    /// The same with what the state marks, as the tool has read or brought it last: what an apply has
    /// made, and what a plan that failed did not come to mark.
    pub(crate) async fn hide_marked_of_state(&mut self) -> std::io::Result<()> {
        match self.state.as_ref().and_then(StateServer::newest) {
            Some(body) => self.hide(move || Marked::of_state(&body).unwrap_or_default().1).await,
            None => Ok(()),
        }
    }

    async fn hide(
        &mut self,
        marked: impl FnOnce() -> Marked + Send + 'static,
    ) -> std::io::Result<()> {
        let masker = Arc::clone(&self.masker);
        self.masker = Arc::new(spawn_blocking(move || marked().known_to(&masker)).await?);
        self.log.mask_with(&self.masker);
        Ok(())
    }

    /// The same with what was saved with the plan.
    pub(crate) async fn hide_saved_marked(&mut self) -> std::io::Result<()> {
        match self.open_own(&self.folders.job.join(MARKED)) {
            // Of a runner that did not save it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            file => {
                let marked = serde_json::from_reader(BufReader::new(file?))?;
                self.hide_marked(marked).await
            }
        }
    }

    /// Opens a regular file of the run's, none elsewhere, whatever links are in the way.
    pub(crate) fn open_own(&self, path: &Path) -> std::io::Result<std::fs::File> {
        files::open_regular(&self.folders.job, path)
    }

    fn environment(&self) -> Environment {
        let mut environment = self.config.environment.clone();
        environment.prepare(&self.folders.home, &self.folders.temporary);
        for variable in &self.claim.variables {
            if !environment.set_for_stack(&variable.name, &variable.value) {
                self.log
                    .say(&format!("left out the variable {} because of its name", variable.name));
            }
        }
        environment.set("TF_IN_AUTOMATION", "1");
        environment.set("GANTRY_RUN_ID", self.claim.run.as_str());
        environment.set("GANTRY_RUN_TYPE", self.claim.run_type.to_string());
        environment.set("GANTRY_STACK", self.claim.stack.as_str());
        environment.set("GANTRY_COMMIT_SHA", self.claim.commit.as_str());
        environment.set("GANTRY_BRANCH", self.claim.branch.as_str());
        environment
    }

    /// Stops here when somebody asked for it.
    pub(crate) fn go_on(&self) -> Result<(), Failure> {
        self.stop.asked().map_or(Ok(()), |reason| Err(Failure::Stopped(reason)))
    }

    /// Waits for `work` unless somebody asks to stop meanwhile.
    pub(crate) async fn or_stop<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            reason = self.stop.wait() => Err(Failure::Stopped(reason)),
            result = work => result,
        }
    }

    /// Runs one of Terraform's commands with its output in the log. Its end and what it reported; a
    /// wish to stop is answered once it has ended.
    pub(crate) async fn terraform(
        &mut self,
        spec: &Spec,
        care: Care,
        watch: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<(Ended, Reported), Failure> {
        let shown: Vec<_> = spec.arguments.iter().map(|a| a.to_string_lossy()).collect();
        self.log.say(&format!("$ {} {}", self.claim.tool.command(), shown.join(" ")));
        self.execute(spec, care, watch).await
    }

    /// The same without a word of what it is.
    pub(crate) async fn execute(
        &mut self,
        spec: &Spec,
        care: Care,
        watch: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<(Ended, Reported), Failure> {
        let diagnostics = Arc::new(Mutex::new(Diagnostics::default()));
        let (to_log, heard) = (self.log.sink(), Arc::clone(&diagnostics));
        let sink: Sink = Arc::new(move |piece| {
            // Half of a secret is not recognised: what is quoted elsewhere is never a part of a line.
            let line = piece.line().or(piece.ends.then_some(TOO_LONG));
            if let Some(line) = line {
                let line = &*hide_import_id(line);
                watch(line);
                heard.lock().unwrap_or_else(PoisonError::into_inner).feed(line);
            }
            to_log(piece);
        });
        let on_stop = self.on_stop(care);
        let ended = match care {
            Care::Apply | Care::Task => {
                let output = KeptOutput::create(&self.folders.output())?;
                let (log, taken) = (self.log.clone(), output.taken());
                let passed = move |bytes| log.mark(bytes, &taken);
                process::run_kept(spec, output, &sink, &passed, &mut self.stop, on_stop).await?
            }
            _ => process::run(spec, &sink, &mut self.stop, on_stop).await?,
        };
        let mut heard = diagnostics.lock().unwrap_or_else(PoisonError::into_inner);
        let reported = std::mem::take(&mut *heard).finish();
        self.warned.add(reported.warned.clone());
        Ok((ended, reported))
    }

    /// The same where anything but success ends the phase.
    pub(crate) async fn terraform_or_fail(
        &mut self,
        name: &str,
        spec: &Spec,
        good: &[i32],
        watch: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<i32, Failure> {
        let (ended, reported) = self.terraform(spec, Care::Plan, watch).await?;
        self.go_on()?;
        match ended.status.code() {
            Some(code) if good.contains(&code) => Ok(code),
            _ => {
                let fallback = format!("{name}: {}", ended.status);
                self.warned.add(reported.failed_checks);
                Err(Failure::Terraform { fallback, errors: reported.errors })
            }
        }
    }

    /// Runs a list of the stack's own commands; the first that fails ends the phase.
    pub(crate) async fn hooks(
        &mut self,
        name: &str,
        commands: &[String],
        terraform: &Terraform,
    ) -> Result<(), Failure> {
        for command in commands {
            self.log.say(&format!("{name}: {command}"));
            let (spec, sink) = (terraform.hook(command), self.log.sink());
            let on_stop = self.on_stop(Care::Hook);
            let ended = process::run(&spec, &sink, &mut self.stop, on_stop).await?;
            if !ended.status.success() {
                self.go_on()?;
                let status = ended.status;
                return Err(Failure::other(format!(
                    "The {name} hook failed ({status}): {command}"
                )));
            }
        }
        self.go_on()
    }

    pub(crate) fn on_stop(&self, care: Care) -> OnStop {
        let grace = self.config.timings.grace;
        match care {
            Care::Plan => OnStop::Abandon { grace },
            Care::Hook => OnStop::AbandonGroup { grace },
            Care::Apply => OnStop::Interrupt,
            Care::Task => OnStop::InterruptGroup { grace: grace * PATIENCE_WITH_TASK },
        }
    }

    /// The sequence of the last report.
    pub(crate) fn last_report(&self) -> u32 {
        self.sequence
    }

    /// Tells what happened, until it is taken.
    pub(crate) async fn report(&mut self, what: ReportKind) -> Result<(), Failure> {
        let report = self.next_report(what);
        self.reporter().send(&report, None).await
    }

    /// Tells, as the claim has promised, that the runner still has a preview that lasts longer than a
    /// moment.
    pub(crate) fn tell_again(&mut self) -> Option<Guard> {
        let moment = self.config.timings.passing;
        if self.claim.run_type != RunType::Proposed || moment.is_zero() {
            return None;
        }
        let what = ReportKind::Claimed { runner: self.config.name.clone(), tells_again: false };
        let (report, reporter) = (self.next_report(what), self.reporter());
        Some(Guard::of(async move {
            tokio::time::sleep(moment).await;
            if reporter.send(&report, None).await.is_err() {
                tracing::warn!("that the run goes on was not accepted");
            }
        }))
    }

    /// Tells that the plan begins. That of a preview is told when it has lasted for a moment, and else
    /// with its end: nobody looks at it before.
    pub(crate) async fn report_planning(&mut self) -> Result<(), Failure> {
        let moment = self.config.timings.passing;
        if self.claim.run_type != RunType::Proposed || moment.is_zero() {
            return self.report(ReportKind::Planning).await;
        }
        let (report, reporter) = (self.next_report(ReportKind::Planning), self.reporter());
        let since = Instant::now();
        let told = Guard::of(async move {
            tokio::time::sleep(moment).await;
            // It is told with the end, too.
            if reporter.send(&report, Some(since)).await.is_err() {
                tracing::warn!("the beginning of the plan was not accepted");
            }
        });
        self.planning = Some(Planning { since, told });
        Ok(())
    }

    /// The next report, for whoever sends it.
    pub(crate) fn next_report(&mut self, what: ReportKind) -> Report {
        self.sequence += 1;
        let sequence = self.sequence;
        self.note_if_possible(|record| record.sequence = sequence);
        Report::new(sequence, what)
    }

    /// Tells the end. Should the runner die before it is accepted, somebody else tells it.
    pub(crate) async fn report_end(&mut self, what: ReportKind) -> Result<(), Failure> {
        self.sequence += 1;
        let since = self.planning.take().map(|Planning { since, told }| {
            drop(told);
            since
        });
        let planning_for = since.map(milliseconds);
        let warnings = warnings::of_report(std::mem::take(&mut self.warned), &self.masker);
        let (doubt, report) = (self.doubt, Report::new(self.sequence, what));
        let report = Report { doubt, warnings, planning_for, ..report };
        let (sequence, end) = (report.sequence, report.clone());
        self.note_if_possible(|record| (record.sequence, record.end) = (sequence, Some(end)));
        self.reporter().send(&report, since).await
    }

    /// Who sends reports.
    pub(crate) fn reporter(&self) -> Reporter {
        Reporter(self.api.with_patience(self.config.timings.report_patience))
    }
}

/// Sends reports, also beside other work.
pub(crate) struct Reporter(Api);

impl Reporter {
    /// Tells what happened, until it is accepted; with how long ago the plan began, where that is
    /// told with it.
    pub(crate) async fn send(
        &self,
        report: &Report,
        plans_since: Option<Instant>,
    ) -> Result<(), Failure> {
        let sent = self.0.report(report, plans_since).await;
        sent.map_err(|e| Failure::api("The report was not accepted", e))
    }
}
