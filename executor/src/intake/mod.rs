mod ledger;
pub(crate) use ledger::AcquireLedger;
