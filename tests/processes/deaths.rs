//! A server that is killed.

use crate::scene::*;
use crate::support::*;

#[test]
fn children_of_a_killed_server_die_in_every_state() {
    let server = Server::start(2);
    let (mut served, stopped) = server.connect_and_find_child();
    // Once a child has answered, it dies with its parent even while it is stopped.
    served.send(&count(1)).tally(1);
    stop_process(stopped);
    let (mut cut, mut waiting) = (server.connect(), server.connect());
    cut.send(&batch_of(1, 3, 1)[..20]);
    waiting.send(&ask(2));
    [&cut, &waiting].into_iter().for_each(|conn| server.await_read(conn));
    let Doomed(children) = &Doomed(server.children());
    assert_eq!(children.len(), 3);
    send_signal(server.pid(), "KILL");
    within(SOON, "all are gone", || children.iter().all(|&pid| !is_alive(pid)));
    assert_eq!((cut.rest_or_reset(), waiting.rest_or_reset()), (vec![], vec![]));
}

#[test]
fn a_killed_server_is_replaced_on_the_same_port_and_files() {
    let old = Server::start(2);
    let mut ended = old.connect();
    ended.deliver(1, 3, WINNING);
    let mut cut = old.connect();
    cut.send(&batch_of(2, 4, 1));
    assert_eq!(cut.ack(), 0);
    cut.send(&batch_of(2, 4, 1)[..20]);
    [&ended, &cut].into_iter().for_each(|conn| old.await_read(conn));
    let Doomed(children) = &Doomed(old.children());
    children.iter().for_each(|&pid| stop_process(pid));
    send_signal(old.pid(), "KILL");

    let new = on_the_files_of(&old, Setup::new(2).set("SERVER_PORT", old.port())).start();
    eventually("the old children are gone", || children.iter().all(|&pid| !is_alive(pid)));
    assert!(new.log().contains("| apuestas: 7 | agencias_terminadas: 1 | sorteo: not held"), "{}", new.log());
    let mut retry = new.connect();
    retry.send(&count(2));
    let (bets, has_ended, _) = retry.tally(2);
    assert_eq!((bets, has_ended), (4, false));
    retry.send(&end(2)).send(&ask(2));
    assert_eq!((retry.ack(), retry.winners()), (0, Some(vec![])));
    let mut asking = new.connect();
    asking.send(&ask(1));
    assert_eq!(asking.winners(), Some(vec![0, 1, 2]));
    assert_eq!(old.rows().len(), 7);
    new.stop();
}
