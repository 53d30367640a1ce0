//! Attacks: what a branch's code and hooks try to reach that is not their run's. And what must go
//! on to work for them.

use crate::support::{Mark, World};
use gantry_domain::{protocol::ReportKind, run::RunType, stack::Tool};
use gantry_engine::{Confinement, Unprivileged};
use gantry_terraform::on_each_tool;
use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::{PermissionsExt as _, lchown},
            net::{SocketAddr, UnixListener},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command},
};

const SECRET: &str = "what-no-run-may-see";
/// A file that previews share, and one that another preview has changed.
const LAYER: &str = "machine-1/layers/abc/tree/x";
const CHANGES: &str = "machine-1/run-2/changes/changed/x";

/// Who runs the runner, and who runs what it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// The same user for both: the tests' own.
    Same,
    /// The runner is root, and runs have a user of their own.
    RootAndUser,
    /// The same for both, and not root.
    User,
    /// As [`Who::RootAndUser`], on a machine without mount namespaces.
    LandlockAlone,
    /// The same, and nothing confines the run.
    Unconfined,
    /// As [`Who::User`], and nothing confines the run.
    UnconfinedUser,
}

impl Who {
    /// Those that this machine lets us try.
    fn all() -> &'static [Self] {
        match gantry_terraform::is_root("attacks of other users") {
            true => &[Self::Same, Self::RootAndUser, Self::User],
            false => &[Self::Same],
        }
    }
}

/// What lies beside a run on its machine.
struct Machine {
    w: World,
    who: Who,
    /// As Gantry's data folder: the runner's own is in it.
    data: PathBuf,
    /// A process of the same user.
    neighbour: Child,
    abstract_name: String,
    /// The number of shared memory of the same user.
    shared_memory: String,
    /// The run's processes are in no PID namespace.
    without_namespace: bool,
}

impl Machine {
    fn new(mut w: World, who: Who, tool: Tool) -> Self {
        w.claim.run_type = RunType::Proposed;
        w.claim.tool = tool;
        let config = w.offer();
        let data = config.work.parent().unwrap().to_owned();
        for file in [
            "secrets.json",
            "machine-1/run-2/job/workspace/x",
            "machine-1/run-1/states/x",
            LAYER,
            CHANGES,
        ] {
            let file = data.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, SECRET).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        }
        let abstract_name = format!("gantry-test-{}", data.file_name().unwrap().display());
        let by_name = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        for listener in [
            UnixListener::bind(data.join("socket")).unwrap(),
            UnixListener::bind_addr(&by_name).unwrap(),
        ] {
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (mut stream, mut request) = (stream, [0; 512]);
                    let _read = stream.read(&mut request);
                    let _sent = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello");
                }
            });
        }
        let mut neighbour = Command::new("sleep");
        neighbour.arg("600").env("NEIGHBOUR", SECRET);
        let mut memory = Command::new("ipcmk");
        memory.args(["--shmem", "64"]);
        if who != Who::Same {
            use std::os::unix::process::CommandExt as _;
            let Unprivileged { uid, gid } = Unprivileged::named("nobody").unwrap();
            neighbour.uid(uid).gid(gid);
            memory.uid(uid).gid(gid);
            give_all(&data, uid);
        }
        let neighbour = neighbour.spawn().unwrap();
        let made = String::from_utf8(memory.output().unwrap().stdout).unwrap();
        let shared_memory = made.rsplit(' ').next().unwrap().trim().to_owned();
        Self { w, who, data, neighbour, abstract_name, shared_memory, without_namespace: false }
    }

    /// The variables that attacks name their targets with.
    fn targets(&self) -> String {
        format!(
            "DATA={data} RUNNER={} NEIGHBOUR={} ABSTRACT={} MEMORY={}\n\
             LAYER={data}/{LAYER} CHANGES={data}/{CHANGES}\n\
             call() {{ /usr/bin/python3 -c '{CALL}' \"$@\"; }}\n\
             shorten() {{ /usr/bin/python3 -c 'import os, sys; os.truncate(sys.argv[1], 0)' $1; }}\n\
             mark() {{ /usr/bin/python3 -c '{MARK}' $1; }}\n",
            // By its number on the machine: in a namespace a hook's parent has none.
            std::process::id(),
            self.neighbour.id(),
            self.abstract_name,
            self.shared_memory,
            data = self.data.display(),
        )
    }

    /// The attacks that worked, and the run's log.
    async fn attacked(&mut self) -> (Vec<&'static str>, String) {
        let tries = ATTACKS.iter().enumerate().map(|(number, attack)| {
            format!("( {attack} ) > /dev/null 2>&1 && echo hole {number}\n")
        });
        let script: String = tries.collect();
        let hook = format!("{}\n{script}echo attacked", self.targets());
        self.w.claim.hooks.before_init = vec![hook];
        self.w.claim.hooks.after_plan = vec!["echo planned".to_owned()];
        let log = self.run().await;
        let holes =
            log.lines().filter_map(|line| line.strip_prefix("hole ")?.parse::<usize>().ok());
        (holes.map(|number| ATTACKS[number]).collect(), log)
    }

    /// Runs it as the program, or in this process where that makes no difference.
    async fn run(&mut self) -> String {
        let mut config = self.w.offer();
        let work = self.data.join("machine-1");
        config.work = work.clone();
        config.confinement = Some(crate::support::confinement(&work));
        if self.who == Who::LandlockAlone {
            config.confinement = config.confinement.map(Confinement::seeing_machine);
        }
        if self.who == Who::Unconfined {
            config.confinement = None;
        }
        if self.without_namespace {
            config.program = self.data.join("no-keeper");
        }
        if self.who != Who::Same {
            config.user = Some(Unprivileged::named("nobody").unwrap());
        }
        if !matches!(self.who, Who::User | Who::RootAndUser | Who::UnconfinedUser) {
            // It complains of the state that lies there for attackers.
            let _left = gantry_runner::run(config).await;
            return self.w.api.log();
        }
        let path = crate::support::path();
        let needs = std::env::join_paths(gantry_terraform::needs()).unwrap();
        let mut variables = BTreeMap::from([
            ("PATH", path.as_str()),
            ("GANTRY_CLAIM_TOKEN", "claim-token-2"),
            ("GANTRY_RUNNER_API", &self.w.api.address),
            ("GANTRY_RUNNER_WORK", work.to_str().unwrap()),
            ("GANTRY_RUNS_MAY_READ", needs.to_str().unwrap()),
        ]);
        let Unprivileged { uid, gid } = Unprivileged::named("nobody").unwrap();
        // As the host starts it: what the runner writes is its user's alone.
        let mut command = tokio::process::Command::new("/bin/sh");
        command.args(["-c", "umask 077 && exec \"$0\"", env!("CARGO_BIN_EXE_gantry-runner")]);
        if self.who == Who::UnconfinedUser {
            variables.insert("GANTRY_UNCONFINED_RUNS", "true");
        }
        match self.who {
            Who::User | Who::UnconfinedUser => _ = command.uid(uid).gid(gid),
            _ => _ = variables.insert("GANTRY_RUNNER_USER", "nobody"),
        }
        command.env_clear().envs(variables);
        let output = command.output().await.unwrap();
        format!("{}{}", self.w.api.log(), String::from_utf8_lossy(&output.stderr))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ended = self.neighbour.kill();
        let _awaited = self.neighbour.wait();
        let _removed = Command::new("ipcrm").args(["--shmem-id", &self.shared_memory]).status();
    }
}

/// Makes a system call. It worked when the kernel did not refuse to be asked: its arguments are
/// numbers, `=text`, `@bytes`, and a few that only Python knows.
const CALL: &str = r#"
import ctypes, os, platform, sys
numbers = dict(
    add_key=(248, 217), bpf=(321, 280), clone3=(435, 435), io_uring_enter=(426, 426),
    io_uring_register=(427, 427), io_uring_setup=(425, 425), ioctl=(16, 29), kcmp=(312, 272),
    keyctl=(250, 219), migrate_pages=(256, 238), move_pages=(279, 239),
    perf_event_open=(298, 241), pidfd_getfd=(438, 438), process_madvise=(440, 440),
    process_mrelease=(448, 448), process_vm_readv=(310, 270), process_vm_writev=(311, 271),
    ptrace=(101, 117), request_key=(249, 218), sched_setparam=(142, 118),
    sched_setscheduler=(144, 119), shmat=(30, 196), socket=(41, 198), userfaultfd=(323, 282))
def argument(text):
    if text[0] in "=@":
        body = text[1:].encode() if text[0] == "=" else bytes.fromhex(text[1:])
        return ctypes.create_string_buffer(body, 256)
    if text == "self":
        return ctypes.c_long(os.getpid())
    if text == "pidfd":
        return ctypes.c_long(os.pidfd_open(os.getpid()))
    return ctypes.c_long(int(text, 0))
number = numbers[sys.argv[1]][platform.machine() == "aarch64"]
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
result = libc.syscall(ctypes.c_long(number), *map(argument, sys.argv[2:]))
refusals = (1, 13, 22, 38) if sys.argv[1] == "shmat" else (1, 13, 38)
sys.exit(result == -1 and ctypes.get_errno() in refusals)
"#;

/// Gives a file an attribute.
const MARK: &str = r#"import os, sys; os.setxattr(sys.argv[1], "user.gantry", b"x")"#;

fn give_all(path: &Path, uid: u32) {
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give_all(&entry.unwrap().path(), uid));
    }
    lchown(path, Some(uid), None).unwrap();
}

const ONE: &str = "resource \"terraform_data\" \"one\" {\n  input = \"a\"\n}\n";

/// Each line is an attack that must fail.
const ATTACKS: &[&str] = &[
    // Reading.
    "cat $DATA/secrets.json",
    "ls $DATA",
    "ls $DATA/machine-1",
    "cat $DATA/machine-1/run-2/job/workspace/x",
    "cat $DATA/machine-1/run-1/states/x",
    "ls ../../..",
    "cat ../../../states/x",
    "cat ../../../../run-2/job/workspace/x",
    "ln -s $DATA/secrets.json link && cat link",
    "ln -s ../../../../../secrets.json far && cat far",
    "ln $DATA/secrets.json hard",
    "cp $DATA/secrets.json copy",
    "tar cf all.tar $DATA",
    "find $DATA -type f | grep .",
    "cat /etc/shadow",
    "ls /root",
    "ls /home",
    "ls /",
    "ls /etc | grep shadow",
    "ls /var/log",
    "cat /dev/vda /dev/sda /dev/nvme0n1 /dev/mem /dev/kmsg | head -c 1 | grep .",
    // Changing.
    "echo x > $DATA/secrets.json",
    "touch $DATA/new",
    "mkdir $DATA/new",
    "rm $DATA/secrets.json",
    "mv $DATA/secrets.json .",
    "touch here && mv here $DATA/machine-1/run-2/job/here",
    "chmod 777 $DATA/secrets.json",
    "chown nobody $DATA/secrets.json",
    "touch -d 2020-01-01 $DATA/secrets.json",
    "chmod 700 /usr/bin/env",
    "touch /usr/bin/gantry-was-here",
    "touch /etc/gantry-was-here",
    "truncate -s 0 $DATA/secrets.json",
    "chmod 777 $LAYER",
    "touch -d 2020-01-01 $LAYER",
    "shorten $LAYER",
    "mark $LAYER",
    "chmod 777 $CHANGES",
    "touch -d 2020-01-01 $CHANGES",
    "shorten $CHANGES",
    "mark $CHANGES",
    // Other processes.
    "kill -0 $RUNNER",
    "kill -0 $NEIGHBOUR",
    "kill -CONT $NEIGHBOUR",
    "kill -0 1",
    "ls /proc",
    "ls /proc/$RUNNER",
    "cat /proc/$RUNNER/environ",
    "cat /proc/$RUNNER/cmdline",
    "cat /proc/$NEIGHBOUR/environ",
    "cat /proc/$NEIGHBOUR/cmdline",
    "cat /proc/*/cmdline | grep -a sleep",
    "cat /proc/[0-9]*/environ | grep -a NEIGHBOUR",
    "ls /proc/$RUNNER/fd",
    "cat /proc/$RUNNER/maps",
    "head -c 1 /proc/$NEIGHBOUR/mem",
    "timeout 2 strace -o /dev/null -p $NEIGHBOUR; test $? = 124",
    "timeout 2 gdb -p $NEIGHBOUR -batch -ex 'info proc' 2>&1 | grep exe",
    "fuser -k $DATA/socket",
    "renice -n 5 -p $NEIGHBOUR",
    "renice -n 6 -u $(id -u)",
    "prlimit --pid $NEIGHBOUR --nofile=64",
    "prlimit --pid $NEIGHBOUR",
    "ionice -c 3 -p $NEIGHBOUR",
    "ionice -c 2 -n 4 -u $(id -u)",
    "taskset -p 1 $NEIGHBOUR",
    "chrt --batch -p 0 $NEIGHBOUR",
    "call sched_setparam $NEIGHBOUR @",
    "call sched_setscheduler $NEIGHBOUR 3 @",
    "call ptrace 16 $NEIGHBOUR 0 0 && call ptrace 17 $NEIGHBOUR 0 0",
    "call ptrace 0 0 0 0",
    "call process_vm_readv self @ 0 @ 0 0",
    "call process_vm_writev self @ 0 @ 0 0",
    "call process_madvise pidfd @ 0 20 0",
    "call process_mrelease pidfd 0",
    "call pidfd_getfd pidfd 0 0",
    "call kcmp self self 0 0 1",
    "call migrate_pages 0 0 0 0",
    "call move_pages 0 0 0 0 0 0",
    "call shmat $MEMORY 0 0",
    // The kernel.
    "call keyctl 0 -3 1",
    "call add_key =user =gantry-was-here =x 1 -2",
    "call request_key =user =gantry-was-here 0 0",
    "call io_uring_setup 1 @",
    "call io_uring_enter 0 1 0 0 0 0",
    "call io_uring_register 0 0 0 0",
    "call userfaultfd 1",
    "call bpf 5 @ 120",
    "call perf_event_open @010000004000000000000000000000000000000000000000000000000000000000\
     00000000000000600000000000000000 0 -1 -1 0",
    "call clone3 @ 0",
    "call socket 38 5 0",
    "call socket 40 1 0",
    "call ioctl 1 0x5412 =x",
    "call ioctl 1 0xc028660f @",
    "unshare -U true",
    // Ways around.
    "cat /proc/self/root$DATA/secrets.json",
    "cat /proc/1/root$DATA/secrets.json",
    "cat /proc/$RUNNER/root$DATA/secrets.json",
    "cat /proc/$NEIGHBOUR/root$DATA/secrets.json",
    "cat /proc/$RUNNER/cwd/../../../secrets.json",
    "cat /proc/$NEIGHBOUR/cwd/Cargo.toml",
    "cat /proc/self/cwd/../../../../../secrets.json",
    "for n in 3 4 5 6 7 8 9 10 11 12; do cat /proc/self/fd/$n; done | grep .",
    "for n in 3 4 5 6 7 8 9 10; do cat /proc/self/fd/$n/../secrets.json; done | grep .",
    "setsid -w cat $DATA/secrets.json",
    "nohup cat $DATA/secrets.json 2>&1 | grep what-no",
    "bash -c 'cat <$DATA/secrets.json'",
    "git --git-dir=. --work-tree=$DATA hash-object $DATA/secrets.json",
    "curl -sf file://$DATA/secrets.json",
    "sh $DATA/secrets.json 2>&1 | grep what-no",
    "ld.so $DATA/secrets.json; /lib64/ld-linux-x86-64.so.2 $DATA/secrets.json 2>&1 | grep ELF",
    "mount -t tmpfs none $HOME",
    "mount --bind / $HOME",
    "umount /usr",
    "umount -l /",
    "mount -o remount,rw,bind /usr",
    "unshare -r mount -t tmpfs none $HOME",
    "unshare -rm mount -t tmpfs none $HOME",
    "unshare -rm cat $DATA/secrets.json",
    "unshare -rmpf --mount-proc true",
    "nsenter -t 1 -m true",
    "nsenter -t $RUNNER -m cat $DATA/secrets.json",
    "nsenter -t $NEIGHBOUR -m true",
    "chroot $HOME true 2>&1 | grep 'No such file'",
    "mknod device b 254 0",
    "mknod device c 1 1",
    "setpriv --reuid 0 --regid 0 --clear-groups true && test $(id -u) != 0",
    "setpriv --dump | grep -i 'no_new_privs: 0'",
    "setpriv --dump | grep '^Effective' | grep -v none",
    "setpriv --dump | grep 'bounding set' | grep -v none && test $(id -u) = 0",
    "su -c true",
    "echo x > /proc/sys/kernel/core_pattern",
    "echo x > /proc/sysrq-trigger",
    "sysctl -w kernel.hostname=x",
    "hostname gantry-was-here",
    "modprobe loop",
    "dmesg | grep .",
    "date -s 2020-01-01",
    // Whoever listens, and the terminal.
    "curl -s --max-time 5 --unix-socket $DATA/socket http://x/",
    "curl -s --max-time 5 --abstract-unix-socket $ABSTRACT http://x/",
    "echo x > /dev/tty",
    "ls /run",
    "ls /var/run/docker.sock",
    "crontab -l 2>&1 | grep 'no crontab'",
    "systemd-run --user true",
];

/// What Landlock alone does not restrict, and other runs of the same user could do to each other: so
/// without a view they share no commit's files, unless they have a user of their own.
const WEAKER: &[&str] = &[
    "chmod 777 $DATA/secrets.json",
    "chown nobody $DATA/secrets.json",
    "touch -d 2020-01-01 $DATA/secrets.json",
    "chmod 777 $LAYER",
    "touch -d 2020-01-01 $LAYER",
    "mark $LAYER",
    "chmod 777 $CHANGES",
    "touch -d 2020-01-01 $CHANGES",
    "mark $CHANGES",
    "curl -s --max-time 5 --unix-socket $DATA/socket http://x/",
];

#[tokio::test]
async fn without_mount_namespaces_only_what_landlock_cannot_restrict_is_reached() {
    if !gantry_terraform::is_root("attacks where there is nothing but Landlock") {
        return;
    }
    let w = World::new(&[("infra/main.tf", ONE)]).await;
    let (holes, log) = Machine::new(w, Who::LandlockAlone, Tool::Terraform).attacked().await;
    assert_eq!(holes, WEAKER);
    assert!(log.contains("\nplanned\n"), "{log}");
}

#[tokio::test]
async fn the_attacks_work_where_nothing_confines_them() {
    if !gantry_terraform::is_root("attacks where nothing confines them") {
        return;
    }
    let w = World::new(&[("infra/main.tf", ONE)]).await;
    let mut machine = Machine::new(w, Who::Unconfined, Tool::Terraform);
    machine.without_namespace = true;
    let (holes, log) = machine.attacked().await;
    for attack in [
        "cat $DATA/secrets.json",
        "ls $DATA",
        "cat $DATA/machine-1/run-2/job/workspace/x",
        "ln -s ../../../../../secrets.json far && cat far",
        "ls /etc | grep shadow",
        "touch $DATA/new",
        "chmod 777 $LAYER",
        "touch -d 2020-01-01 $LAYER",
        "shorten $LAYER",
        "mark $LAYER",
        "chmod 777 $CHANGES",
        "touch -d 2020-01-01 $CHANGES",
        "shorten $CHANGES",
        "mark $CHANGES",
        "kill -CONT $NEIGHBOUR",
        "cat /proc/$NEIGHBOUR/environ",
        // It has another user here.
        "ls /proc/$RUNNER",
        "cat /proc/$RUNNER/cmdline",
        "cat /proc/*/cmdline | grep -a sleep",
        "cat /proc/$NEIGHBOUR/root$DATA/secrets.json",
        "renice -n 5 -p $NEIGHBOUR",
        "renice -n 6 -u $(id -u)",
        "prlimit --pid $NEIGHBOUR --nofile=64",
        "ionice -c 3 -p $NEIGHBOUR",
        "ionice -c 2 -n 4 -u $(id -u)",
        "taskset -p 1 $NEIGHBOUR",
        "chrt --batch -p 0 $NEIGHBOUR",
        "call sched_setparam $NEIGHBOUR @",
        "call sched_setscheduler $NEIGHBOUR 3 @",
        "call ptrace 16 $NEIGHBOUR 0 0 && call ptrace 17 $NEIGHBOUR 0 0",
        "call ptrace 0 0 0 0",
        "call process_vm_readv self @ 0 @ 0 0",
        "call process_vm_writev self @ 0 @ 0 0",
        "call process_madvise pidfd @ 0 20 0",
        "call process_mrelease pidfd 0",
        "call pidfd_getfd pidfd 0 0",
        "call kcmp self self 0 0 1",
        "call shmat $MEMORY 0 0",
        "call keyctl 0 -3 1",
        "call add_key =user =gantry-was-here =x 1 -2",
        "call request_key =user =gantry-was-here 0 0",
        "call io_uring_setup 1 @",
        "call userfaultfd 1",
        "call clone3 @ 0",
        "call ioctl 1 0xc028660f @",
        "unshare -U true",
        "unshare -rm mount -t tmpfs none $HOME",
        "curl -s --max-time 5 --unix-socket $DATA/socket http://x/",
        "curl -s --max-time 5 --abstract-unix-socket $ABSTRACT http://x/",
    ] {
        assert!(holes.contains(&attack), "{attack} is no attack: {log}");
    }
}

#[tokio::test]
async fn awss_cli_works_in_hooks() {
    let mut w = World::new(&[("infra/main.tf", ONE)]).await;
    w.may_read = gantry_terraform::aws_cli();
    let aws = w.may_read[0].join("bin/aws").display().to_string();
    let address = w.api.address.clone();
    w.claim.hooks.before_init = vec![format!(
        "export AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE AWS_SECRET_ACCESS_KEY=example \
         AWS_DEFAULT_REGION=eu-west-1 && {aws} --version && {aws} s3 presign s3://bucket/key && \
         {aws} sts get-caller-identity --endpoint-url {address} || echo it was asked"
    )];
    let ended = w.run().await;
    let log = w.api.log();
    assert!(matches!(ended, ReportKind::Planned { .. }), "{ended:?} {log}");
    for said in ["aws-cli/", "Signature=", "Unable to parse response", "it was asked"] {
        assert!(log.contains(said), "{said}: {log}");
    }
}

on_each_tool! {
    async fn what_a_hook_leaves_in_the_background_serves_its_phase(tool) {
        let further: &[Who] = match gantry_terraform::is_root("other users") {
            true => &[Who::LandlockAlone, Who::Unconfined, Who::UnconfinedUser],
            false => &[],
        };
        for who in Who::all().iter().chain(further) {
            let w = World::new(&[("infra/main.tf", ONE)]).await;
            let mut machine = Machine::new(w, *who, tool);
            let mark = Mark::new();
            machine.w.claim.hooks.before_init = vec![mark.left_behind()];
            machine.w.claim.hooks.after_plan = vec![mark.is_there()];
            let log = machine.run().await;
            assert_eq!(log.matches("\nit is there\n").count(), 1, "{who:?} {log}");
            assert!(mark.processes().is_empty(), "{who:?}");
        }
    }

    async fn hooks_reach_nothing_but_their_run(tool) {
        for who in Who::all() {
            let w = World::new(&[("infra/main.tf", ONE)]).await;
            let mut machine = Machine::new(w, *who, tool);
            let (holes, log) = machine.attacked().await;
            assert!(holes.is_empty(), "{who:?}: {holes:#?}");
            assert!(log.contains("\nattacked\n") && log.contains("\nplanned\n"), "{who:?} {log}");
            assert_eq!(fs::read_to_string(machine.data.join("secrets.json")).unwrap(), SECRET);
            assert!(machine.neighbour.try_wait().unwrap().is_none(), "the neighbour was ended");
        }
    }

    async fn what_a_run_cannot_change_any_more_is_removed(tool) {
        for who in Who::all() {
            let w = World::new(&[("infra/main.tf", ONE)]).await;
            let mut machine = Machine::new(w, *who, tool);
            let run = machine.data.join("machine-1/run-1");
            fs::remove_dir_all(&run).unwrap();
            machine.w.claim.hooks.after_plan = vec![
                "mkdir -p $HOME/go/mod/x closed/x && touch $HOME/go/mod/x/y closed/x/y && ln -s \
                 / closed/x/link && chmod -R a-w $HOME/go && chmod 0 closed/x closed"
                    .to_owned(),
            ];
            let log = machine.run().await;
            let last = machine.w.api.reports().last().cloned();
            assert!(matches!(last, Some(ReportKind::Planned { .. })), "{who:?} {last:?} {log}");
            assert!(!run.exists(), "{who:?} {log}");
        }
    }

    async fn code_reads_nothing_but_its_run(tool) {
        for who in Who::all() {
            let w = World::new(&[("infra/own", "mine")]).await;
            let mut machine = Machine::new(w, *who, tool);
            let data = machine.data.display().to_string();
            let up = "${path.module}/../../../../../";
            let code = format!(r#"
output "own" {{ value = file("${{path.module}}/own") }}
output "file" {{ value = try(file("{data}/secrets.json"), "nothing") }}
output "up" {{ value = try(file("{up}secrets.json"), "nothing") }}
output "base64" {{ value = try(filebase64("{data}/secrets.json"), "nothing") }}
output "digest" {{ value = try(filesha256("{data}/secrets.json"), "nothing") }}
output "template" {{ value = try(templatefile("{data}/secrets.json", {{}}), "nothing") }}
output "set" {{ value = try(join(",", fileset("{data}", "**")), "nothing") }}
output "states" {{ value = try(join(",", fileset("${{path.module}}/../../..", "**/x")), "nothing") }}
output "run" {{ value = try(file("{data}/machine-1/run-2/job/workspace/x"), "nothing") }}
output "environ" {{ value = try(file("/proc/self/environ"), "nothing") }}
output "link" {{ value = try(file("${{path.module}}/link"), "nothing") }}
"#);
            machine.w.claim.hooks.before_init = vec![
                format!("cat > main.tf << 'END'\n{code}\nEND\nln -s {data}/secrets.json link"),
            ];
            let log = machine.run().await;
            assert!(!log.contains(SECRET), "{who:?} {log}");
            assert!(log.contains("own      = \"mine\""), "{who:?} {log}");
            let shown: Vec<_> = log.lines().filter(|line| line.ends_with("= \"nothing\"")).collect();
            let empty: Vec<_> = log.lines().filter(|line| line.ends_with("= \"\"")).collect();
            assert_eq!(shown.len() + empty.len(), 10, "{who:?} {log}");
        }
    }

    async fn modules_and_links_lead_nowhere(tool) {
        let w = World::new(&[("infra/main.tf", ONE)]).await;
        let mut machine = Machine::new(w, Who::Same, tool);
        let outside = machine.data.join("module");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("main.tf"), format!("output \"x\" {{ value = \"{SECRET}\" }}")).unwrap();
        let code = format!("module \"a\" {{\n  source = \"{}\"\n}}\n", outside.display());
        machine.w.claim.hooks.before_init = vec![format!("cat >> main.tf << 'END'\n{code}\nEND")];
        let log = machine.run().await;
        assert!(!log.contains(SECRET), "{log}");
        assert!(matches!(machine.w.api.reports().last(), Some(ReportKind::Failed { .. })), "{log}");
    }

    async fn what_runs_need_works(tool) {
        for who in Who::all() {
            let w = World::new(&[("infra/main.tf", ONE)]).await;
            let mut machine = Machine::new(w, *who, tool);
            let address = machine.w.api.address.clone();
            let works: Vec<String> = [
                "test \"$(cat /etc/hosts | wc -l)\" -gt 0",
                "getent passwd root",
                "id",
                "date",
                "TZ=Europe/Berlin date",
                "bash -c 'cat <(echo through)'",
                "echo to the error output > /dev/stderr",
                "echo to the output > /dev/stdout",
                "echo gone > /dev/null",
                "head -c 8 /dev/urandom | wc -c",
                "f=$(mktemp) && echo x > $f && grep x $f",
                "echo x > $HOME/file && chmod 755 $HOME/file && mv $HOME/file $TMPDIR/file",
                "printf '#!/bin/sh\\necho ran\\n' > tool && chmod 755 tool && ./tool",
                "cp /bin/true $TMPDIR/program && $TMPDIR/program",
                "mkdir a && touch a/b && ln a/b c && mv a d && rm -r d",
                "git init -q repository && cd repository && git -c user.name=a -c user.email=a@b \
                 commit -q --allow-empty -m x && cd .. && git clone -q repository clone && git -C \
                 clone log --oneline",
                &format!("curl -s -o /dev/null {address}/"),
                "echo x | sort | grep x",
                "sleep 0.1 & wait",
                "sleep 30 & kill $!",
                "test ! -t 0",
                "/usr/bin/python3 -c 'import json, ssl, socket, tempfile, subprocess; \
                 s = socket.socket(socket.AF_UNIX); p = tempfile.mkdtemp() + \"/s\"; s.bind(p); \
                 s.listen(); c = socket.socket(socket.AF_UNIX); c.connect(p); \
                 subprocess.run([\"true\"], check=True); ssl.create_default_context()'",
                "test $(umask) = 0022",
                "nice -n 5 true",
                "ionice -c 3 true",
                "taskset 1 true",
                "ulimit -n 256 && test $(ulimit -n) = 256",
                "! test -x /usr/bin/node || /usr/bin/node -e 'require(\"fs\").promises.readFile(\"/etc/hosts\")'",
                "! test -x /usr/bin/java || /usr/bin/java -version",
            ]
            .map(str::to_owned)
            .to_vec();
            let script: String = works
                .iter()
                .enumerate()
                .map(|(number, line)| format!("( {line} ) > out 2>&1 || {{ echo broken {number}; cat out; }}\n"))
                .collect();
            machine.w.claim.hooks.before_init = vec![format!("{script}echo tried")];
            let log = machine.run().await;
            let broken: Vec<_> = log
                .lines()
                .filter_map(|line| line.strip_prefix("broken ")?.parse::<usize>().ok())
                .map(|number| works[number].as_str())
                .collect();
            assert!(broken.is_empty(), "{who:?}: {broken:#?}\n{log}");
            assert!(log.contains("\ntried\n"), "{who:?} {log}");
            let last = machine.w.api.reports().last().cloned();
            assert!(matches!(last, Some(ReportKind::Planned { .. })), "{who:?} {last:?} {log}");
        }
    }
}
