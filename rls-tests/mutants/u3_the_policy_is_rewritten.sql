-- A version of the policy can be changed.
-- class: append-only and audit
-- found by: fixed
drop trigger policy_version_fixed on duet.policy_version;
