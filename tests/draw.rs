//! The draw, from outside.

mod support;

use support::*;

#[test]
fn agencies_that_have_all_ended_get_their_own_winners_after_one_draw() {
    let server = Server::start(2);
    let (mut one, mut two) = (server.connect(), server.connect());
    one.send(&batch_of(1, 3, 7574)).send(&end(1)).send(&ask(1));
    assert_eq!([one.ack(), one.ack()], [0, 0]);
    two.send(&end(2)).send(&ask(2));
    assert_eq!(two.ack(), 0);
    assert_eq!(one.winners(), Some(vec![0, 1, 2]));
    assert_eq!(two.winners(), Some(vec![]));
    assert_eq!(server.stop().matches(SORTEO).count(), 1);
}
