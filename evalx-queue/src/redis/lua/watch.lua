-- Says that somebody follows a stream, so that it is written. ARGV[2..]: the
-- stream, how long. Gives whether nobody had said so, and the id of the last entry.
open()
call('DEL', NONE)
local stream, till = ARGV[2], now + tonumber(ARGV[3])
local before
if stream == ':ev' then
    before, book[CHANGES_FOLLOWED] = book[CHANGES_FOLLOWED], till
else
    before, book[CANCELLATIONS_FOLLOWED] = book[CANCELLATIONS_FOLLOWED], till
end
save()
local last = call('XREVRANGE', P .. stream, '+', '-', 'COUNT', 1)
return {before <= now and 1 or 0, last[1] and last[1][1] or '0-0'}
