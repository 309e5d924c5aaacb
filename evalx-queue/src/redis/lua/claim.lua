-- Takes jobs. ARGV[6..] are worker, most, whether it is repeated, then lease,
-- grace, tenant_in_flight or '', nonce.
even_if_full()
local worker, settings = ARGV[6], {ARGV[9], ARGV[10], ARGV[11], ARGV[12]}
local claimed = ARGV[8] == '1' and claimed_before(worker, ARGV[12]) or nil
if not claimed then
    promote()
    reap()
    claimed = claim(worker, tonumber(ARGV[7]), settings)
end
tell()
return {claimed, next_change()}
