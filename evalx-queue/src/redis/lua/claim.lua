-- Takes jobs. ARGV[2..5]: worker, most, the connection, a nonce. Gives how long
-- until something happens by itself, -1 for never, and for each job its id, how
-- long it is the worker's, the job, and what was enqueued.
local _, record = open(nil, nil, P .. ':w:' .. ARGV[2])
call('DEL', NONE)
local worker, most, connection, nonce, answer = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], {-1}
local held = claim_again(record, nonce, connection, answer)
if not held then
    catch_up()
    held = claim(worker, most, nonce, connection, answer)
end
if held == 0 then
    if book[DUE] < 2 ^ 53 then answer[1] = math.max(0, book[DUE] - now) end
    if gave_up then answer[1] = 50 end
    -- Those that got nothing look again within two seconds; until then they are to be woken.
    if book[AWAITED] < now + 3000 then book[AWAITED] = now + 5000 end
end
save()
return answer
