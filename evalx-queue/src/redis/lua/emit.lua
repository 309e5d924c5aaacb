-- Tells events of a job. ARGV[2..]: id, token, nonce, the events. Gives
-- whether that counted, by one digit.
open(2, #ARGV)
local id, nonce = ARGV[2], ARGV[4]
local job = known(id)
if not job or job[STATE] ~= 'active' or job[TOKEN] ~= tonumber(ARGV[3]) then return '0' end
if job[EVENT_NONCE] == nonce then return '1' end
tell(id, job, ARGV[5])
job[EVENT_NONCE] = nonce
changed[id] = true
touch(id)
save()
return '1'
