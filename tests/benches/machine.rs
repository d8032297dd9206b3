//! The machine: its cores, and the CPU time and memory of processes, read from `/proc`.

use std::fs;
use std::process::Command;
use std::time::Duration;

/// The core of the measured process.
pub(crate) const MEASURED_CORE: usize = 0;
/// The core of the harness.
pub(crate) const HARNESS_CORE: usize = 1;
/// `USER_HZ`, the unit of `/proc/PID/stat`; the same on every Linux.
const TICKS_PER_SECOND: u32 = 100;

/// Returns whether the machine has at least two cores.
pub(crate) fn has_two_cores() -> bool {
    fs::read_to_string("/proc/cpuinfo")
        .is_ok_and(|text| text.lines().filter(|line| line.starts_with("processor")).count() >= 2)
}

/// Pins this process to one core. Must be called before threads are started.
pub(crate) fn pin_self(core: usize) {
    if has_two_cores() {
        let pid = std::process::id().to_string();
        let done = Command::new("taskset").args(["-c", "-p", &core.to_string(), &pid]).output();
        assert!(done.is_ok_and(|done| done.status.success()), "taskset (util-linux) does not work here");
    }
}

/// Lets all threads of this process, and the processes that it starts, use all cores.
pub(crate) fn unpin_self() {
    let pid = std::process::id().to_string();
    let cores = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let done = Command::new("taskset").args(["-a", "-c", "-p", cores.trim(), &pid]).output();
    assert!(done.is_ok_and(|done| done.status.success()), "taskset (util-linux) does not work here");
}

/// Returns the prefix of a command that pins it to one core.
pub(crate) fn pinned(core: usize) -> Vec<String> {
    if has_two_cores() { vec!["taskset".into(), "-c".into(), core.to_string()] } else { vec!["env".into()] }
}

/// Returns the CPU time of a process so far, user and system, of all its threads.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The process name, in parentheses, may contain any character.
    let (_, rest) = stat.rsplit_once(')').expect("a name in parentheses");
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u32 = fields[11..13].iter().map(|ticks| ticks.parse::<u32>().expect("ticks")).sum();
    Duration::from_secs(1) * ticks / TICKS_PER_SECOND
}

/// Returns the resident memory of a process, in bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// Returns the peak of resident memory since [`forget_peak`], in bytes.
pub(crate) fn peak(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

/// Resets the peak of resident memory to the present value.
pub(crate) fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the process is ours");
}

fn status(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of that name");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// Describes processor, cores, memory and kernel in one line.
pub(crate) fn description() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let gib = total.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() >> 20;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    format!("{model}, {cores} cores, {gib} GiB, Linux {}", kernel.trim())
}

/// Returns the load average of the last minute.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
