-- Takes jobs. ARGV[2..5]: worker, most, whether it is repeated, nonce. Gives how
-- long until something happens by itself, -1 for never, and for each job its id,
-- how long it is the worker's, the job, and what was enqueued.
open()
call('DEL', NONE)
local worker, most, nonce, answer = ARGV[2], tonumber(ARGV[3]), ARGV[5], {-1}
local held = ARGV[4] == '1' and claim_again(worker, nonce, answer) or nil
if not held then
    catch_up()
    held = claim(worker, most, nonce, answer)
end
if held == 0 then
    if book[DUE] < 2 ^ 53 then answer[1] = math.max(0, book[DUE] - now) end
    if gave_up then answer[1] = 50 end
    -- Those that got nothing look again within two seconds; until then they are to be woken.
    if book[AWAITED] < now + 3000 then book[AWAITED] = now + 5000 end
end
save()
return answer
