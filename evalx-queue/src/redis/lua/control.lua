-- Changes what all processes do. ARGV: what, and what belongs to it.
local key, what = P .. ':ctl', ARGV[1]
local function change(field, value)
    if value == '' then call('HDEL', key, field) else call('HSET', key, field, value) end
end
if what == 'pause' then change('paused', 1)
elseif what == 'resume' then change('paused', '')
elseif what == 'drain' then change('draining', 1)
elseif what == 'open' then change('draining', '')
elseif what == 'now' then change('now', ARGV[2])
elseif what == 'limits' then
    change('max_depth', ARGV[2])
    change('tenant_depth', ARGV[3])
    change('tenant_in_flight', ARGV[4])
end
if all_ready() > 0 then signal() end
return 1
