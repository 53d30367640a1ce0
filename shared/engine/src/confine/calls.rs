//! System calls that are refused (<https://docs.kernel.org/userspace-api/seccomp_filter.html>):
//! those that only debuggers need or that open up parts of the kernel that no tool of a run uses,
//! and whatever could change another process of the same user.
//!
//! All others are allowed: what a provider or a hook may need is not ours to know.

use nix::libc::{self, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, apply_filter, sock_filter,
};
use std::{collections::BTreeMap, env::consts::ARCH, io};

/// With any arguments.
const REFUSED: &[c_long] = &[
    // The memory and the files of other processes.
    libc::SYS_kcmp,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    // The kernel's keys belong to a user, not to a run.
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    // What attacks on the kernel itself start with.
    libc::SYS_bpf,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
];

/// The first argument says whose: the caller's own is 0.
const OWN_ONLY: &[c_long] = &[
    libc::SYS_prlimit64,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setattr,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler,
];

/// The first argument says of what kind the second one is. All of a user's are never the run's own.
const OWN_OF_KIND: &[(c_long, u64)] =
    &[(libc::SYS_setpriority, libc::PRIO_USER as u64), (libc::SYS_ioprio_set, IOPRIO_WHO_USER)];
/// `linux/ioprio.h`
const IOPRIO_WHO_USER: u64 = 3;

/// Queues, semaphores and shared memory that are found by a name or a number, not in a file.
const SHARED_BY_NAME: &[c_long] = &[
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_msgctl,
    libc::SYS_msgget,
    libc::SYS_msgrcv,
    libc::SYS_msgsnd,
    libc::SYS_semctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_shmget,
];

/// `fs/ext4/ext4.h`. It exchanges what two files hold, and gives neither a new time of change, by
/// which the runner tells whether files are as they were unpacked.
const EXT4_IOC_MOVE_EXT: u64 = 0xc028_660f;

/// Of networks, and to ask the kernel about them.
const FAMILIES: &[i32] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Filters that are ready to be applied.
pub(super) struct Filters([BpfProgram; 2]);

/// The filters for this machine. What is shared by name is refused unless that is the run's own.
pub(super) fn filters(own_names: bool) -> Result<Filters, seccompiler::Error> {
    let mut refused = BTreeMap::new();
    refused.extend(REFUSED.iter().map(|call| (*call, Vec::new())));
    if !own_names {
        refused.extend(SHARED_BY_NAME.iter().map(|call| (*call, Vec::new())));
    }
    for call in OWN_ONLY {
        refused.insert(*call, vec![rule(&[(0, SeccompCmpOp::Ne, 0)])?]);
    }
    for (call, all_of_user) in OWN_OF_KIND {
        let rules =
            vec![rule(&[(1, SeccompCmpOp::Ne, 0)])?, rule(&[(0, SeccompCmpOp::Eq, *all_of_user)])?];
        refused.insert(*call, rules);
    }
    // In a user namespace of its own a process has all capabilities.
    let namespace = libc::CLONE_NEWUSER as u64;
    for call in [libc::SYS_clone, libc::SYS_unshare] {
        let is_asked = (0, SeccompCmpOp::MaskedEq(namespace), namespace);
        refused.insert(call, vec![rule(&[is_asked])?]);
    }
    let other: Vec<_> =
        FAMILIES.iter().map(|family| (0, SeccompCmpOp::Ne, *family as u64)).collect();
    refused.insert(libc::SYS_socket, vec![rule(&other)?]);
    // Typing into a terminal, and changing files unseen.
    let requests = [libc::TIOCSTI, libc::TIOCLINUX, EXT4_IOC_MOVE_EXT];
    let requests = requests.iter().map(|request| rule(&[(1, SeccompCmpOp::Eq, *request)]));
    refused.insert(libc::SYS_ioctl, requests.collect::<Result<_, _>>()?);

    // Its flags are in memory, where no filter looks: without it programs call `clone`.
    let missing = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok(Filters([program(refused, libc::EPERM)?, program(missing, libc::ENOSYS)?]))
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, seccompiler::Error> {
    let conditions = conditions.iter().map(|(argument, compare, value)| {
        SeccompCondition::new(*argument, Dword, compare.clone(), *value)
    });
    Ok(SeccompRule::new(conditions.collect::<Result<_, _>>()?)?)
}

fn program(rules: Rules, error: i32) -> Result<BpfProgram, seccompiler::Error> {
    let refuse = SeccompAction::Errno(error.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, ARCH.try_into()?)?;
    let mut program = BpfProgram::try_from(filter)?;
    if cfg!(target_arch = "x86_64") {
        program.splice(..0, without_x32());
    }
    Ok(program)
}

/// On some kernels each call of x86-64 has a second number, with this bit, for 32-bit pointers.
const X32: u32 = 0x4000_0000;

/// Lets no call with such a number through to the rest of a filter.
fn without_x32() -> [sock_filter; 3] {
    let step = |code: u32, jf, k| sock_filter { code: code as u16, jt: 0, jf, k };
    [
        // The number is the first thing that a filter is given.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 1, X32),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]
}

impl Filters {
    /// Applies them to this process and to all that it starts.
    pub(super) fn apply(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|filter| apply_filter(filter)).map_err(io::Error::other)
    }
}
