-- Figures of the queue: how many jobs are in each state, how many tenants wait,
-- since when the oldest job, the book, and how many jobs of each language wait.
open()
local oldest = -1
for level = 0, 2 do
    local first = call('ZRANGE', P .. ':s:' .. level, 0, 0, 'WITHSCORES')
    if first[2] then oldest = math.max(oldest, now - tonumber(first[2])) end
end
local after = '(' .. string.format('%.0f', now)
return {
    call('ZCARD', P .. ':delayed'), call('ZCARD', P .. ':lease'),
    call('ZCOUNT', P .. ':d:done', after, '+inf'), call('ZCOUNT', P .. ':d:dead', after, '+inf'),
    call('ZCOUNT', P .. ':d:cancelled', after, '+inf'),
    call('HLEN', P .. ':n:wait'), oldest, PACK(book),
    call('HGETALL', P .. ':n:lang'),
}
