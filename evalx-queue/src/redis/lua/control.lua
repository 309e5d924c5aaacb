-- Changes what all processes do. ARGV: what, and what belongs to it.
local key, what = P .. ':ctl', ARGV[1]
local function set(field, value)
    if value == '' then call('HDEL', key, field) else call('HSET', key, field, value) end
end
if what == 'pause' then set('paused', 1)
elseif what == 'resume' then set('paused', '')
elseif what == 'drain' then set('draining', 1)
elseif what == 'open' then set('draining', '')
elseif what == 'now' then set('now', ARGV[2])
elseif what == 'limits' then
    set('max_depth', ARGV[2])
    set('tenant_depth', ARGV[3])
    set('tenant_in_flight', ARGV[4])
end
if ready_count() > 0 then signal() end
return 1
