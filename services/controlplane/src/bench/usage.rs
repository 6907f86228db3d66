//! What the processes below this one have used, by name.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context as _;

use crate::failure::Failure;

/// Where the broker of the bare traffic has its configuration.
const FLOOR_BROKER: &str = "/broker/floor/";

/// Of one process since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Used {
    /// Of all its threads, in user and in kernel mode.
    pub cpu_ms: f64,
    /// Resident now.
    pub memory_mib: f64,
}

#[derive(Debug, Clone, Default)]
pub struct Usage {
    pub children: BTreeMap<String, Used>,
    /// This process, which submits.
    pub own: Used,
}

impl Usage {
    /// Reads it where the kernel tells; there is nothing to measure elsewhere.
    pub fn now() -> Result<Self, Failure> {
        let own = std::process::id();
        let mut usage = Self::default();
        let processes =
            fs::read_dir("/proc").context("the kernel does not tell: Linux is needed")?;
        for process in processes.flatten() {
            let Some(stat) = Stat::of(&process.path()) else {
                continue;
            };
            if process.file_name().to_str() == Some(&own.to_string()) {
                usage.own = stat.used;
            } else if stat.parent == own {
                let name = name(&process.path()).unwrap_or(stat.command);
                let sum = usage.children.entry(name).or_default();
                sum.cpu_ms += stat.used.cpu_ms;
                sum.memory_mib += stat.used.memory_mib;
            }
        }
        Ok(usage)
    }

    /// CPU since an earlier look, by name; a process that is new counts from its beginning.
    pub fn since(&self, before: &Self) -> BTreeMap<String, f64> {
        let earlier = |name: &str| before.children.get(name).map_or(0.0, |used| used.cpu_ms);
        let children = self.children.iter();
        children
            .map(|(name, used)| (name.clone(), used.cpu_ms - earlier(name)))
            .collect()
    }
}

/// A line of `/proc/<pid>/stat`, as proc(5) describes it.
struct Stat {
    command: String,
    parent: u32,
    used: Used,
}

impl Stat {
    /// Nothing for a process that has gone meanwhile.
    fn of(process: &Path) -> Option<Self> {
        let text = fs::read_to_string(process.join("stat")).ok()?;
        let (before, after) = text.rsplit_once(')')?;
        let (_, command) = before.split_once('(')?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
        let memory = fs::read_to_string(process.join("status")).ok()?;
        let resident = memory.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident =
            resident.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        Some(Self {
            command: command.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            used: Used {
                cpu_ms: (number(11)? + number(12)?) * 1000.0 / ticks_a_second(),
                memory_mib: resident.unwrap_or_default() / 1024.0,
            },
        })
    }
}

/// A process of the bare traffic is called after its part.
fn name(process: &Path) -> Option<String> {
    let line = fs::read(process.join("cmdline")).ok()?;
    if String::from_utf8_lossy(&line).contains(FLOOR_BROKER) {
        return Some("floor nats-server".to_owned());
    }
    if line.split(|byte| *byte == 0).any(|word| word == b"worker") {
        return Some("worker".to_owned());
    }
    let mut words = line.split(|byte| *byte == 0);
    words.find(|word| word == b"part")?;
    let part = String::from_utf8_lossy(words.next()?).into_owned();
    Some(format!("floor {part}"))
}

#[expect(unsafe_code, reason = "the standard library does not tell")]
fn ticks_a_second() -> f64 {
    // SAFETY: `sysconf` has no preconditions and changes nothing.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u32::try_from(ticks).map_or(100.0, f64::from)
}
