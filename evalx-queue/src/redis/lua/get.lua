-- A job as it is now. ARGV[1]: its id.
return view(ARGV[1], true)
