//! A kernel without Landlock, or one that lets nobody have a view of the file system: one whose call
//! for it is refused with the error of a call that does not exist.

use crate::support::{World, path};
use gantry_domain::protocol::ReportKind;
use gantry_engine::{Confinement, Strength, Unprivileged, confine::MachinePolicy};
use nix::libc::{self, c_long};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use std::{collections::BTreeMap, env::consts::ARCH};

/// Runs a plan whose hook says that it ran, in a thread that has no Landlock: neither do the
/// processes that it starts.
fn run_without_landlock(user: Option<Unprivileged>) -> (ReportKind, String) {
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut w = World::new(&[("infra/main.tf", "output \"one\" { value = 1 }\n")]).await;
            w.claim.hooks.before_init = vec!["echo the hook ran".to_owned()];
            let mut config = w.offer();
            let machine = MachinePolicy {
                private: vec![config.work.clone()],
                path: path(),
                may_read: gantry_terraform::needs(),
                has_user: user.is_some(),
                ..MachinePolicy::default()
            };
            let launcher = env!("CARGO_BIN_EXE_gantry-runner").as_ref();
            config.confinement = Some(Confinement::new(launcher, machine.policy().unwrap()));
            config.user = user;
            refuse(libc::SYS_landlock_create_ruleset);
            gantry_runner::run(config).await.unwrap();
            (w.api.reports().last().unwrap().clone(), w.api.log())
        })
    });
    thread.join().unwrap()
}

/// Tries a launcher out, in a thread that can make no namespaces.
fn check_without_views(demand: fn(Confinement) -> Confinement) -> Result<Strength, String> {
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let confinement = demand(crate::support::confinement(folder.path()));
            refuse(libc::SYS_unshare);
            confinement.check(None).await.map_err(|error| error.to_string())
        })
    });
    thread.join().unwrap()
}

fn refuse(call: c_long) {
    let rules = BTreeMap::from([(call, Vec::new())]);
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, missing, ARCH.try_into().unwrap()).unwrap();
    apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

#[test]
fn no_run_starts_without_landlock() {
    let (report, log) = run_without_landlock(None);
    let ReportKind::Failed { summary, errors, .. } = report else { panic!("{report:?} {log}") };
    // The status has room for the reason; what can be done stands below.
    assert!(summary.starts_with("Runs cannot be confined on this machine: this kernel has no"));
    for said in [
        "Runs cannot be confined on this machine: this kernel has no Landlock or it is not enabled",
        "GANTRY_RUNNER_USER",
        "--unconfined-runs",
    ] {
        assert!(errors[0].contains(said), "{said}: {errors:?}");
    }
    assert!(log.contains(&errors[0]) && !log.contains("the hook ran"), "{log}");
}

#[test]
fn no_process_starts_without_a_view_where_the_check_had_one() {
    assert!(!check_without_views(|as_it_is| as_it_is).unwrap().own_view);
    let refused = check_without_views(Confinement::needing_view).unwrap_err();
    for said in ["cannot create a separate file system view", "there was one when the run began"] {
        assert!(refused.contains(said), "{said}: {refused}");
    }
    // Scripts of ours have none anywhere.
    let of_script = check_without_views(|demanding| demanding.needing_view().seeing_machine());
    assert!(!of_script.unwrap().own_view);
}

#[test]
fn a_user_of_their_own_confines_runs_without_landlock() {
    if !gantry_terraform::is_root("runs of another user on a kernel without Landlock") {
        return;
    }
    let (report, log) = run_without_landlock(Some(Unprivileged::named("nobody").unwrap()));
    assert!(matches!(report, ReportKind::Planned { .. }), "{report:?} {log}");
    assert!(log.contains("\nthe hook ran\n"), "{log}");
}
