-- Changes what all processes do. ARGV[2..]: what, and what belongs to it.
open()
call('DEL', NONE)
local what = ARGV[2]
if what == 'pause' then book[PAUSED] = 1
elseif what == 'resume' then book[PAUSED] = 0
elseif what == 'drain' then book[DRAINING] = 1
elseif what == 'open' then book[DRAINING] = 0
elseif what == 'now' then book[NOW] = tonumber(ARGV[3])
elseif what == 'limits' then
    book[MAX_DEPTH], book[TENANT_DEPTH], book[TENANT_IN_FLIGHT] =
        tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
end
if all_ready() > 0 then signal() end
save()
return 1
