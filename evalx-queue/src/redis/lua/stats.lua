-- Figures of the queue.
local oldest = -1
for level = 0, 2 do
    local first = call('ZRANGE', P .. ':s:' .. level, 0, 0, 'WITHSCORES')
    if first[2] then oldest = math.max(oldest, now - tonumber(first[2])) end
end
local after = '(' .. string.format('%.0f', now)
return {
    call('ZCARD', P .. ':s:0'), call('ZCARD', P .. ':s:1'), call('ZCARD', P .. ':s:2'),
    call('ZCARD', P .. ':delayed'), call('ZCARD', P .. ':lease'),
    call('ZCOUNT', P .. ':d:done', after, '+inf'), call('ZCOUNT', P .. ':d:dead', after, '+inf'),
    call('ZCOUNT', P .. ':d:cancelled', after, '+inf'),
    call('HLEN', P .. ':n:wait'), oldest,
    tonumber(ctl.retries or 0), tonumber(ctl.crashes or 0), tonumber(ctl.completed or 0), tonumber(ctl.average or 0),
    ctl.paused and 1 or 0, ctl.draining and 1 or 0,
    call('HGETALL', P .. ':n:lang'),
}
