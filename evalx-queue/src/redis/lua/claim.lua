-- Takes jobs. ARGV[6..] are worker, most, whether it is repeated, then lease,
-- grace, tenant_in_flight or '', nonce.
call('DEL', NONE)
local worker, terms = ARGV[6], {ARGV[9], ARGV[10], ARGV[11], ARGV[12]}
local claimed = ARGV[8] == '1' and claimed_before(worker, ARGV[12]) or nil
if not claimed then
    promote()
    reap()
    write_gathered()
    claimed = claim(worker, tonumber(ARGV[7]), terms)
end
save()
return {claimed, #claimed == 0 and next_change() or -1}
