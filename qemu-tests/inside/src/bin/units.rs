//! Asks systemd for what a pass may ask it, from the command line: for the trials in `qemu-tests`, and to try it by hand.
//!
//!     units [--steps] [--limit SECONDS] [--reload] VERB:UNIT...      verbs: restart reload recover started stopped masked
//!     units [--steps] [--limit SECONDS] check|verify|on-change SUBJECT FILE PROGRAM [ARGUMENT]...
//!
//! A verb with `!` before it is a role whose `when` is false. With `--steps` it is driven as a loop does it, else to its end.
//! It prints a line for each outcome, or how the program ended, and last how many threads it had.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::process::ExitCode;
use std::time::Duration;

use ovf_agent::agent::chain;
use ovf_agent::bus::Bus;
use ovf_agent::checks::{Kind, Order};
use ovf_agent::sys::Root;
use ovf_agent::sys::clock::now;
use ovf_agent::sys::poll::Poll;
use ovf_agent::units::{Role, State, Verb, Wanted, owe, settle};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args().skip(1).peekable();
    let (mut steps, mut limit, mut wanted) = (false, Duration::from_secs(60), Wanted::default());
    while let Some(option) = arguments.next_if(|argument| argument.starts_with("--")) {
        match option.as_str() {
            "--steps" => steps = true,
            "--reload" => wanted.reload = true,
            "--limit" => limit = Duration::from_secs_f64(arguments.next().unwrap_or_default().parse()?),
            _ => return Err(format!("unknown option {option}").into()),
        }
    }
    let root = Root::open("/")?;
    let bus = Bus::new(&root)?;
    let arguments: Vec<String> = arguments.collect();
    let kind = match arguments.first().map(String::as_str) {
        Some("check") => Some(Kind::Check),
        Some("verify") => Some(Kind::Verify),
        Some("on-change") => Some(Kind::OnChange),
        _ => None,
    };
    let is_well = match (kind, arguments.as_slice()) {
        (Some(kind), [_, subject, file, argv @ ..]) => {
            let order = Order::new(&root, kind, subject, argv, Some(file.as_ref()), limit);
            let ended = match order {
                Ok(order) => drive(&bus, order.run(&bus), steps)?,
                Err(refusal) => Err(refusal),
            };
            match &ended {
                Ok(()) => println!("accepted"),
                Err(refusal) => println!("{} {:?}", chain(refusal), refusal.how),
            }
            ended.is_ok()
        }
        (Some(_), _) => return Err("check SUBJECT FILE PROGRAM [ARGUMENT]...".into()),
        (None, actions) => {
            for action in actions {
                let (verb, unit) = action.split_once(':').ok_or_else(|| format!("no VERB:UNIT: {action}"))?;
                let unit = unit.to_owned();
                let (holds, word) = verb.strip_prefix('!').map_or((true, verb), |word| (false, word));
                match word {
                    "restart" => owe(&mut wanted.units, &unit, Verb::Restart),
                    "reload" => owe(&mut wanted.units, &unit, Verb::Reload),
                    "recover" => owe(&mut wanted.units, &unit, Verb::Recover),
                    "started" => wanted.roles.push(Role { unit, state: State::Started, holds }),
                    "stopped" => wanted.roles.push(Role { unit, state: State::Stopped, holds }),
                    "masked" => wanted.roles.push(Role { unit, state: State::Masked, holds }),
                    _ => return Err(format!("unknown verb {word}").into()),
                }
            }
            let systemd = bus.systemd().ok_or("there is no systemd here, or we are not root")?;
            let outcomes = drive(&bus, settle(systemd, wanted, limit), steps)?;
            for outcome in &outcomes {
                println!("{} {} {}: {outcome}", outcome.verb, outcome.unit, outcome.result());
            }
            !outcomes.iter().any(|outcome| outcome.is_failure())
        }
    };
    println!("threads: {}", root.list("/proc/self/task")?.len());
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn drive<T>(bus: &Bus, conversation: impl Future<Output = T>, steps: bool) -> Result<T> {
    if !steps {
        return Ok(bus.wait(conversation)?);
    }
    let mut conversation = bus.start(conversation);
    let poll = Poll::new()?;
    poll.add(bus, 1)?;
    loop {
        if let Some(value) = bus.step(&mut conversation)? {
            return Ok(value);
        }
        let timeout = bus.next().map(|moment| moment.saturating_sub(now()));
        poll.wait(timeout)?;
    }
}
