-- Says that somebody follows a stream, so that it is written. ARGV: the stream,
-- how long. Gives whether nobody had said so, and the id of the last entry.
local field = 'watched' .. ARGV[1]
local had_lapsed = tonumber(ctl[field] or 0) <= now
call('HSET', P .. ':ctl', field, now + tonumber(ARGV[2]))
local last = call('XREVRANGE', P .. ARGV[1], '+', '-', 'COUNT', 1)
return {had_lapsed and 1 or 0, last[1] and last[1][1] or '0-0'}
