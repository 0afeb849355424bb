//! Which reports the parent believes.
//!
//! Pure. Used by the parent's event loop. An attacker may have taken over a child, and then any packet may come over its link.
//! So a report counts only if it agrees with what the parent knows. The parent also compares [`Report::Ended`] and
//! [`Report::StorageBroken`] with the books.
//!
//! | report | believed if |
//! |---|---|
//! | claim, slot | the agency takes part, and the child has named no other agency in either of them |
//! | await the draw | the agency takes part |
//! | released, ended | the child holds the agency's claim |
//! | the others | always: they change only counters and log lines, or the files decide |

use ipc::events::Token;

use super::claims::Claims;
use crate::bet::AgencyId;
use crate::draw::Ledger;
use crate::messages::Report;

/// What the parent knows about a child that reports.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Which agencies take part.
    pub ledger: &'a Ledger,
    /// Who holds which claim.
    pub claims: &'a Claims,
    /// The child's connection.
    pub token: Token,
    /// The agency that the child has claimed, or whose slot it has asked for.
    pub agency: Option<AgencyId>,
}

impl Facts<'_> {
    /// Checks `report`.
    ///
    /// # Errors
    /// The reason for the log, if the report is false: no child of this program sends it.
    pub fn check(&self, report: Report) -> Result<(), &'static str> {
        match report {
            Report::Claim(agency) | Report::Slot(agency) if !self.is_own(agency) => Err("it named a second agency"),
            Report::Claim(agency) | Report::Slot(agency) | Report::AwaitDraw(agency) => self.takes_part(agency),
            Report::Released(agency) | Report::Ended(agency) => self.holds(agency),
            Report::StorageBroken | Report::LinesLost(_) | Report::LockHeld | Report::Garbage | Report::Refused(_) => {
                Ok(())
            }
        }
    }

    fn is_own(&self, agency: AgencyId) -> bool {
        self.agency.is_none_or(|own| own == agency)
    }

    fn takes_part(&self, agency: AgencyId) -> Result<(), &'static str> {
        self.ledger.knows(agency.get()).map(drop).ok_or("it named an agency that does not take part")
    }

    fn holds(&self, agency: AgencyId) -> Result<(), &'static str> {
        let holds = self.claims.is_holder(agency, self.token);
        holds.then_some(()).ok_or("it reported for an agency whose claim it does not hold")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Reason;
    use std::time::Instant;

    const OWN: Token = Token(1);
    const OTHER: Token = Token(2);

    fn id(id: u32) -> AgencyId {
        AgencyId::new(id).unwrap()
    }

    /// The agencies among 1 to 4 for which each report about an agency is believed. Agency 1 is claimed by [`OWN`], agency 2 by
    /// [`OTHER`], for which [`OWN`] waits, too; of four agencies, 1 to 3 take part.
    fn believed(token: Token, agency: Option<u32>) -> [Vec<u32>; 5] {
        let (ledger, mut claims, now) = (Ledger::new(3), Claims::new(), Instant::now());
        for (agency, token) in [(1, OWN), (2, OTHER), (2, OWN)] {
            let _ = claims.claim(id(agency), token, now);
        }
        let facts = Facts { ledger: &ledger, claims: &claims, token, agency: agency.map(id) };
        let reports = [Report::Claim, Report::Slot, Report::AwaitDraw, Report::Released, Report::Ended];
        reports.map(|report| (1..=4).filter(|&agency| facts.check(report(id(agency))).is_ok()).collect())
    }

    #[test]
    fn a_child_speaks_only_for_the_agency_that_it_holds() {
        let all = vec![1, 2, 3];
        assert_eq!(believed(OWN, Some(1)), [vec![1], vec![1], all.clone(), vec![1], vec![1]]);
        assert_eq!(believed(OTHER, Some(2)), [vec![2], vec![2], all.clone(), vec![2], vec![2]]);
        assert_eq!(believed(Token(3), None), [all.clone(), all.clone(), all, vec![], vec![]]);
    }

    #[test]
    fn without_a_draw_every_agency_takes_part() {
        let (ledger, claims) = (Ledger::new(0), Claims::new());
        let facts = Facts { ledger: &ledger, claims: &claims, token: OWN, agency: None };
        assert_eq!(facts.check(Report::Slot(id(u32::MAX))), Ok(()));
    }

    #[test]
    fn reports_that_only_count_are_always_believed() {
        let (ledger, claims) = (Ledger::new(1), Claims::new());
        let facts = Facts { ledger: &ledger, claims: &claims, token: OWN, agency: None };
        let refused = Report::Refused(Reason::Code(6));
        for report in [Report::StorageBroken, Report::LinesLost(u32::MAX), Report::LockHeld, Report::Garbage, refused] {
            assert_eq!(facts.check(report), Ok(()));
        }
    }
}
