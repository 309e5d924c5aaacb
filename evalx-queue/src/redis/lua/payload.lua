-- What was enqueued. ARGV[1]: the job's id.
if not known(ARGV[1]) then return false end
return call('GET', P .. ':p:' .. ARGV[1])
