//! The parent process: its event loop, and the phases of its life.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ipc::events::{Poller, Token};
use ipc::link::Incoming;
use ipc::nursery::Nursery;
use ipc::process::{self, Exit, Pid};
use ipc::signals::SignalSource;

use super::belief::Facts;
use super::budget::Resting;
use super::children::Children;
use super::claims::{Claimed, Claims};
use super::data_lock;
use super::drawing::{Attempt, Drawing};
use super::error::{Error, system};
use super::listener::Listener;
use super::newcomers::Newcomers;
use super::refusals::{Refusals, Word};
use super::sources::{Refused, Sources};
use super::standstill::Standstill;
use super::unread::Unread;
use super::waiters::{Queued, Waiters};
use crate::bet::AgencyId;
use crate::config::server::Config;
use crate::draw::Ledger;
use crate::event;
use crate::exit_code::ExitStatus;
use crate::logging;
use crate::messages::{self, Dismissal, Intake, ParentEnd, Reason, Report};
use crate::session::{Common, Given, Session};
use crate::signals;
use crate::storage::{Slots, Store};

/// Tokens of the descriptors that are not a child's link.
const LISTENER: Token = Token(0);
const STOP: Token = Token(1);
const CHILD_ENDED: Token = Token(2);
const LOG: Token = Token(3);
const NURSERY: Token = Token(4);
const FIRST_CHILD: Token = Token(16);

/// Connections accepted in one turn, so that a flood of them does not keep the parent from its children.
const ACCEPTS_A_TURN: usize = 16;
/// Reports of a living child that are taken in one turn, so that a flood of them does not keep the parent from others.
const REPORTS_A_TURN: usize = 16;
/// More reports than a link can hold: the last ones of a reaped child.
const REPORTS_OF_THE_DEAD: usize = 4096;
/// With fewer children, a plain fork is faster: it copies few links, and the child need not announce itself.
const FEW_CHILDREN: usize = 64;
/// How long after a SIGCHLD the parent looks at all children, at most.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);
/// Children that one such look reaps at most. Each costs a walk over all of them.
const REAPED_A_SWEEP: usize = 64;
/// The log's reason for a failed sync that the books do not confirm.
const NO_MARK: &str = "it reported a failed sync, but the books carry no mark of one";
/// How long the parent waits for killed children. The kernel kills the others when the parent ends.
const KILL_PATIENCE: Duration = Duration::from_millis(500);

/// The parent process.
pub struct Server {
    common: Rc<Common>,
    store: Store,
    poller: Poller,
    stop: SignalSource,
    child_ended: SignalSource,
    nursery: Nursery,
    children: Children,
    resting: Resting,
    sources: Sources,
    /// A link or a process has ended in this turn.
    reaping: bool,
    /// When to look at all children.
    sweep: Option<Instant>,
    claims: Claims,
    newcomers: Newcomers,
    waiters: Waiters,
    ledger: Ledger,
    unread: Unread,
    slots: Rc<Slots>,
    drawing: Drawing,
    standstill: Standstill,
    refusals: Refusals,
    phase: Phase,
    log_watched: bool,
}

/// Where the server is between its start and its end.
#[derive(Debug)]
enum Phase {
    /// It accepts connections.
    Serving { listener: Listener },
    /// Children finish their current message.
    Stopping { until: Instant, why: Why },
    /// Children have been killed, and are reaped.
    Killing { until: Instant, why: Why },
}

/// Why the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// A signal requested it.
    Requested,
    /// A sync failed: nothing may be acknowledged any more.
    StorageBroken,
}

/// What the books say about the end of an agency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It is recorded, and counts.
    Recorded,
    /// It is not recorded.
    Missing,
    /// The books could not be read.
    Unread,
}

impl Server {
    /// A server that lets clients connect to `listener`, and forks in `nursery`. `signals` are those that stop the server,
    /// and SIGCHLD.
    ///
    /// # Errors
    /// [`Error::System`] if epoll cannot be set up; [`Error::Listen`] if listen(2) fails.
    pub fn listen(
        common: Common,
        (listener, nursery): (Listener, Nursery),
        store: Store,
        lottery: (Ledger, Slots),
        signals: [SignalSource; 2],
    ) -> Result<Self, Error> {
        let (ledger, slots) = lottery;
        let [stop, child_ended] = signals;
        let poller = Poller::new().map_err(system("epoll_create"))?;
        poller.watch_readable(&stop, STOP).map_err(system("epoll_ctl"))?;
        poller.watch_readable(&child_ended, CHILD_ENDED).map_err(system("epoll_ctl"))?;
        poller.watch_readable(&nursery, NURSERY).map_err(system("epoll_ctl"))?;
        let Config { listen_backlog, message_timeout, .. } = common.config;
        let listening = listener.listen(listen_backlog, message_timeout);
        let actual = listening.map_err(|(at, source)| Error::Listen { at, source })?;
        event!(Info, "listen", success, port = actual);
        Ok(Self {
            store,
            poller,
            stop,
            child_ended,
            nursery,
            children: Children::new(FIRST_CHILD),
            resting: Resting::default(),
            sources: Sources::new(common.config.max_per_source, common.config.penalty),
            reaping: false,
            sweep: None,
            claims: Claims::new(),
            newcomers: Newcomers::new(common.config.most_seats(), common.config.newcomer_timeout),
            waiters: Waiters::new(common.config.draw_wait),
            ledger,
            unread: Unread::default(),
            slots: Rc::new(slots),
            drawing: Drawing::new(),
            standstill: Standstill::default(),
            refusals: Refusals::default(),
            phase: Phase::Serving { listener },
            log_watched: false,
            common: Rc::new(common),
        })
    }

    /// Serves until the server has stopped and every child is reaped, or killed children have had their time.
    ///
    /// # Errors
    /// [`Error::StorageBroken`] if that was the reason to stop; [`Error::System`] if epoll fails.
    pub fn serve(&mut self) -> Result<(), Error> {
        let mut ready = Vec::new();
        event!(Info, "accept_connections", in_progress);
        self.hold_draw_if_due();
        loop {
            if let Some(why) = self.stopped() {
                return if why == Why::StorageBroken { Err(Error::StorageBroken) } else { Ok(()) };
            }
            self.watch_log();
            self.watch_listener();
            ready.clear();
            self.poller.wait(self.next_deadline(), &mut ready).map_err(system("epoll_wait"))?;
            ready.iter().for_each(|&token| self.handle(token));
            if std::mem::take(&mut self.reaping) {
                self.reap();
            }
            self.expire(Instant::now());
        }
    }

    /// Closes links and files, and logs each.
    pub fn close(self) {
        let Self { store, common, children, mut refusals, .. } = self;
        refusals.close();
        drop(children);
        event!(Info, "close_links", success);
        drop(store);
        event!(Info, "close_storage", success, archivo = common.location.paths.bets.display());
    }

    fn handle(&mut self, token: Token) {
        match token {
            LISTENER => self.accept(),
            STOP => self.stop_signaled(),
            CHILD_ENDED => self.child_signaled(),
            LOG => logging::flush(),
            NURSERY => self.nursery.settle(),
            child => self.take_reports(child, REPORTS_A_TURN),
        }
    }

    // ---- time ----

    fn next_deadline(&self) -> Option<Instant> {
        let [phase, draw] = match &self.phase {
            Phase::Serving { listener } => [listener.deadline(), self.drawing.deadline()],
            Phase::Stopping { until, .. } | Phase::Killing { until, .. } => [Some(*until), None],
        };
        let [claims, waiters] = [self.claims.deadline(), self.waiters.deadline()];
        let [newcomers, resting] = [self.newcomers.deadline(), self.resting.deadline()];
        let [standstill, unread] = [self.standstill.deadline(), self.unread.deadline()];
        let others = [claims, waiters, newcomers, resting, standstill, unread, self.refusals.deadline(), self.sweep];
        [phase, draw].into_iter().chain(others).flatten().min()
    }

    fn expire(&mut self, now: Instant) {
        while let Some(token) = self.claims.expired(now) {
            self.send(token, ParentEnd::refuse_claim);
        }
        while let Some(token) = self.waiters.expired(now) {
            self.send(token, ParentEnd::announce_no_draw);
        }
        while let Some(token) = self.newcomers.expired(now) {
            self.dismiss(token, Dismissal::Age);
        }
        while let Some(token) = self.newcomers.overdue(now) {
            if let Some(child) = self.children.get(token) {
                child.kill_overdue();
            }
        }
        while let Some(token) = self.resting.due(now) {
            self.children.resume(&self.poller, token);
        }
        if self.standstill.is_due(now) {
            let verdict = self.standstill.judge(data_lock::look(&self.store), now);
            data_lock::act(verdict, &self.children, &self.drawing, &self.common.location.paths.books);
        }
        if matches!(self.phase, Phase::Stopping { until, .. } if until <= now) {
            self.kill_children();
        }
        if self.sweep.is_some_and(|due| due <= now) {
            self.sweep(now);
        }
        self.refusals.expire(now);
        for agency in self.unread.due(now) {
            self.adopt_end(agency);
        }
        self.hold_draw_if_due();
    }

    // ---- connections ----

    fn is_full(&self) -> bool {
        self.children.len() >= self.common.config.max_connections.get() as usize
    }

    fn watch_listener(&mut self) {
        let wanted = !self.is_full() || self.newcomers.can_make_room();
        if let Phase::Serving { listener } = &mut self.phase {
            listener.watch(&self.poller, LISTENER, wanted);
        }
    }

    fn accept(&mut self) {
        if self.is_full() {
            return self.make_room();
        }
        for _ in 0..ACCEPTS_A_TURN {
            if self.is_full() {
                return;
            }
            let Phase::Serving { listener } = &mut self.phase else { return };
            let Some(accepted) = listener.accept() else { return };
            if self.is_refused(accepted.1.ip()) {
                continue;
            }
            event!(Info, "accept_connections", success, ip = accepted.1.ip());
            if let Err((call, e)) = self.fork_session(accepted)
                && let Phase::Serving { listener } = &mut self.phase
            {
                listener.back_off(call, &e);
                return;
            }
            event!(Info, "accept_connections", in_progress);
        }
    }

    /// Frees a slot for a connection that waits.
    fn make_room(&mut self) {
        if let Some(token) = self.newcomers.make_room(Instant::now()) {
            self.dismiss(token, Dismissal::Room);
        }
    }

    /// Orders a newcomer to leave, and forgets what it waits for.
    fn dismiss(&mut self, token: Token, why: Dismissal) {
        // A newcomer holds no claim, so none becomes free.
        self.claims.release(None, token);
        self.waiters.remove(token);
        self.send(token, |link| link.dismiss(why));
    }

    /// Whether a new connection must be closed at once, because of its source. Logs the reason, but not each time.
    fn is_refused(&mut self, ip: IpAddr) -> bool {
        let Err(Refused { reason, unlogged }) = self.sources.admit(ip, Instant::now()) else { return false };
        if let Some(unlogged) = unlogged {
            event!(Warning, "accept_connections", fail, ip = ip, motivo = reason, no_informados = unlogged);
        }
        true
    }

    /// Forks a child for a connection. The error names the system call that failed.
    fn fork_session(&mut self, (client, peer): (TcpStream, SocketAddr)) -> Result<(), (&'static str, io::Error)> {
        let (parent_end, link) = messages::link().map_err(|e| ("socketpair", e))?;
        let (common, ledger, slots) = (self.common.clone(), self.ledger.clone(), self.slots.clone());
        let given = Given { client, peer: peer.ip(), link, common, ledger, slots };
        let run = |given, signals| {
            logging::forked();
            Session::run(given, signals).code()
        };
        let pid = match self.children.len() {
            0..FEW_CHILDREN => process::spawn(given, &signals::STOP, run),
            _ => self.nursery.spawn(given, &signals::STOP, run),
        };
        let pid = pid.map_err(|e| ("fork", e))?;
        self.sources.opened(peer.ip());
        // A child whose reports are not noticed would wait for its claim for ever.
        let (token, watched) = self.children.register(&self.poller, pid, peer.ip(), parent_end);
        self.newcomers.arrive(token, Instant::now());
        watched.map_err(|e| {
            process::kill(pid);
            ("epoll_ctl", e)
        })
    }

    // ---- children ----

    /// Takes the reports of a child, at most `most`, and no more than its budget allows. A later turn takes the others.
    fn take_reports(&mut self, token: Token, most: usize) {
        let now = Instant::now();
        for _ in 0..most {
            let Some(child) = self.children.get(token) else { return };
            if child.is_given_up() {
                return self.link_ended(token);
            }
            if let Some(until) = child.rests_until(now) {
                self.resting.add(token, until);
                return self.children.rest(&self.poller, token);
            }
            match child.link().next_report() {
                Ok(Incoming::Message(report)) => {
                    child.budget.count(now);
                    self.take(token, report);
                }
                Ok(Incoming::Nothing) => return,
                Ok(Incoming::Closed) => return self.link_ended(token),
                Err(e) => child.give_up(&e),
            }
        }
    }

    fn link_ended(&mut self, token: Token) {
        self.children.link_ended(&self.poller, token);
        self.reaping = true;
    }

    /// Takes a report, if it is to be believed. A child that sends a false one has been taken over, and is killed.
    fn take(&mut self, token: Token, report: Report) {
        let Some(child) = self.children.get(token) else { return };
        let (ledger, claims) = (&self.ledger, &self.claims);
        let facts = Facts { ledger, claims, token, agency: child.agency.or(child.slot_of) };
        if let Err(why) = facts.check(report) {
            return child.give_up(&why);
        }
        match report {
            Report::Claim(agency) => self.claim(agency, token),
            Report::Released(agency) => {
                if let Some(next) = self.claims.release(Some(agency), token) {
                    self.grant(next);
                }
            }
            Report::AwaitDraw(agency) => {
                if self.ledger.is_drawn() {
                    self.send(token, ParentEnd::announce_draw);
                } else if self.common.config.client_amount == 0
                    || self.waiters.queue(agency, token, Instant::now()) == Queued::AnswerNow
                {
                    self.send(token, ParentEnd::announce_no_draw);
                }
            }
            Report::Slot(agency) => {
                child.slot_of = Some(agency);
                let slot = self.assign_slot(agency);
                self.send(token, |link| link.assign_slot(slot));
            }
            Report::Ended(agency) => {
                if self.adopt_end(agency) == End::Missing {
                    self.give_up(token, "it reported an end that is not recorded");
                }
            }
            Report::StorageBroken if self.store.sync_has_failed() => self.break_down(),
            Report::StorageBroken => self.give_up(token, NO_MARK),
            Report::LinesLost(lines) => logging::add_lost(lines),
            Report::LockHeld => self.standstill.report(Instant::now()),
            Report::Garbage if !std::mem::replace(&mut child.sent_garbage, true) => {
                self.sources.penalize(child.peer, Instant::now());
            }
            Report::Garbage => {}
            Report::Refused(reason) => self.count_refusal(token, reason),
        }
    }

    fn count_refusal(&mut self, token: Token, reason: Reason) {
        let Some(child) = self.children.get(token) else { return };
        match self.refusals.add(child.peer, reason, Instant::now()) {
            Word::Log => self.send(token, ParentEnd::log_refusal),
            Word::Count => self.send(token, ParentEnd::count_refusal),
        }
    }

    /// Takes a claim, unless its connection must leave.
    fn claim(&mut self, agency: AgencyId, token: Token) {
        let Some(child) = self.children.get(token).filter(|_| !self.newcomers.was_told(token)) else { return };
        child.agency = Some(agency);
        if !self.newcomers.has_seat(agency) {
            // If the other client is silent, its seat is free when this client asks again.
            if let Some(holder) = self.newcomers.ask_for_seat(Instant::now()) {
                self.send(holder, ParentEnd::ask_to_yield);
            }
            return self.send(token, ParentEnd::refuse_claim);
        }
        match self.claims.claim(agency, token, Instant::now()) {
            Claimed::Granted => self.grant(token),
            Claimed::Waiting { ask: Some(holder) } => self.send(holder, ParentEnd::ask_to_yield),
            Claimed::Waiting { ask: None } => {}
        }
    }

    /// Seats the connection that has got its claim.
    fn grant(&mut self, token: Token) {
        let Some(child) = self.children.get(token) else { return };
        child.agency.into_iter().for_each(|agency| self.newcomers.seat(agency, token, Instant::now()));
        let ended = self.ledger.is_drawn() || child.agency.is_some_and(|agency| self.ledger.has_ended(agency));
        let intake = if ended { Intake::Ended } else { Intake::Open };
        self.send(token, |link| link.grant_claim(intake));
    }

    /// Sends an order. A child that is gone does not need it: its claim is freed when it is reaped. A child that cannot get
    /// it would wait for ever, so it is killed.
    fn send(&mut self, token: Token, verb: impl Fn(&ParentEnd) -> io::Result<()>) {
        let Some(child) = self.children.get(token) else { return };
        match verb(child.link()) {
            Err(e) if !matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => child.give_up(&e),
            _ => {}
        }
    }

    fn give_up(&mut self, token: Token, why: &str) {
        if let Some(child) = self.children.get(token) {
            child.give_up(&why);
        }
    }

    fn child_signaled(&mut self) {
        self.child_ended.drain();
        self.reaping = true;
        self.sweep.get_or_insert_with(|| Instant::now() + SWEEP_PAUSE);
    }

    /// Reaps the children that have ended, among those that can be expected to: a look at all of them would cost more with
    /// each child. These are the children whose link has ended, those whose link the parent itself still holds open, and
    /// the draw child, which has no link.
    fn reap(&mut self) {
        for (token, exit) in self.children.reap_ended() {
            self.session_ended(token, exit);
        }
        let others: Vec<Pid> = self.nursery.unsettled().chain(self.drawing.child()).collect();
        for pid in others {
            if let Some(exit) = process::reap_child(pid) {
                self.process_ended(pid, exit);
            }
        }
    }

    /// Reaps any child that has ended, at most [`REAPED_A_SWEEP`]; the others follow in the next turn. So every child is reaped
    /// soon, even if its link does not end because another process holds it open.
    fn sweep(&mut self, now: Instant) {
        self.sweep = None;
        for _ in 0..REAPED_A_SWEEP {
            let Some((pid, exit)) = process::reap() else { return };
            self.process_ended(pid, exit);
        }
        self.sweep = Some(now);
    }

    fn process_ended(&mut self, pid: Pid, exit: Exit) {
        if self.drawing.is_child(pid) {
            self.draw_child_ended(exit);
        } else if let Some(token) = self.children.token_of(pid) {
            self.session_ended(token, exit);
        }
    }

    /// Takes the last reports of a reaped child, frees its claim, and removes it from the table.
    fn session_ended(&mut self, token: Token, exit: Exit) {
        self.children.reaped(token);
        self.take_reports(token, REPORTS_OF_THE_DEAD);
        let Some(mut child) = self.children.remove(&self.poller, token) else { return };
        self.nursery.reaped(child.pid);
        self.sources.closed(child.peer);
        // The child may have recorded the end of its agency and died, or failed, before it reported it.
        if let Some(agency) = child.agency {
            self.adopt_end(agency);
        }
        self.waiters.remove(token);
        self.newcomers.remove(child.agency, token);
        if let Some(next) = self.claims.release(child.agency, token) {
            self.grant(next);
        }
        child.log_exit(exit);
        if ExitStatus::StorageBroken.is_of(exit) {
            match self.store.sync_has_failed() {
                true => self.break_down(),
                false => child.give_up(&NO_MARK),
            }
        }
    }

    /// Counts the end of `agency`, if it is recorded. A report is not enough: the records decide. If they cannot be read,
    /// tries again after a pause.
    fn adopt_end(&mut self, agency: AgencyId) -> End {
        if self.ledger.has_ended(agency) {
            return End::Recorded;
        }
        let Some(slot) = self.slots.of(agency) else { return End::Missing };
        let has_ended = self.store.has_ended(slot);
        if has_ended.is_ok() {
            self.unread.succeeded();
        }
        match has_ended {
            Ok(true) => {
                self.ledger.end(agency);
                End::Recorded
            }
            Ok(false) => End::Missing,
            Err(e) => {
                event!(Error, "leer_fines", fail, error = e);
                self.unread.add(agency, Instant::now());
                End::Unread
            }
        }
    }

    /// The number of the agency's slot, assigned now if the agency is new; `None` if it cannot take part.
    fn assign_slot(&mut self, agency: AgencyId) -> Option<u32> {
        self.ledger.knows(agency.get())?;
        // No copy: a child has its own table after the fork.
        Some(Rc::make_mut(&mut self.slots).assign(agency)?.number)
    }

    // ---- the draw ----

    fn hold_draw_if_due(&mut self) {
        if matches!(self.phase, Phase::Serving { .. }) && self.ledger.is_due() {
            self.drawing.begin(&self.common, &self.slots, Instant::now());
        }
    }

    fn draw_child_ended(&mut self, exit: Exit) {
        match self.drawing.reaped(exit, &self.store) {
            Attempt::Held => {
                self.ledger.record_draw();
                event!(Info, "sorteo", success, agencias = self.common.config.client_amount);
                for token in self.waiters.take_all() {
                    self.send(token, ParentEnd::announce_draw);
                }
            }
            // It may have failed because the data lock is held, and it has no link to report that.
            Attempt::Retry => self.standstill.report(Instant::now()),
            Attempt::Broken => self.break_down(),
        }
    }

    // ---- the end ----

    /// Why the server has stopped; `None` while there is something to wait for.
    fn stopped(&self) -> Option<Why> {
        let all_reaped = self.children.is_empty() && !self.drawing.is_running();
        match self.phase {
            Phase::Serving { .. } => None,
            Phase::Stopping { why, .. } => all_reaped.then_some(why),
            Phase::Killing { until, why } => (all_reaped || until <= Instant::now()).then_some(why),
        }
    }

    fn stop_signaled(&mut self) {
        let mut signals = self.stop.drain();
        if signals > 0 && matches!(self.phase, Phase::Serving { .. }) {
            event!(Info, "shutdown", in_progress, hijos = self.children.len());
            self.stop_children(Why::Requested);
            signals -= 1;
        }
        if signals > 0 {
            self.kill_children();
        }
    }

    /// Stops the server because a sync failed. The first call logs it.
    fn break_down(&mut self) {
        let known = match &mut self.phase {
            Phase::Serving { .. } => false,
            Phase::Stopping { why, .. } | Phase::Killing { why, .. } => {
                std::mem::replace(why, Why::StorageBroken) == Why::StorageBroken
            }
        };
        if !known {
            event!(Critical, "storage", fail, error = Error::StorageBroken);
        }
        if matches!(self.phase, Phase::Serving { .. }) {
            self.stop_children(Why::StorageBroken);
        }
    }

    /// Closes the listener and sends every child the order to stop.
    fn stop_children(&mut self, why: Why) {
        let until = Instant::now() + self.common.config.shutdown_grace;
        let before = std::mem::replace(&mut self.phase, Phase::Stopping { until, why });
        if let Phase::Serving { listener } = before {
            listener.close(&self.poller);
        }
        self.newcomers.keep_all();
        self.children.stop_all();
    }

    fn kill_children(&mut self) {
        let Phase::Stopping { why, .. } = self.phase else { return };
        if !self.children.is_empty() {
            event!(Warning, "kill_children", success, hijos = self.children.len());
        }
        self.children.kill_all();
        self.drawing.kill();
        self.phase = Phase::Killing { until: Instant::now() + KILL_PATIENCE, why };
    }

    // ---- the log ----

    fn watch_log(&mut self) {
        let wanted = logging::is_queued();
        if wanted != self.log_watched {
            let changed = match wanted {
                true => self.poller.watch_writable(io::stdout(), LOG),
                false => self.poller.remove(io::stdout()),
            };
            // A descriptor that epoll refuses never blocks; any other is tried again with the next line.
            self.log_watched = wanted && changed.is_ok();
        }
    }
}
