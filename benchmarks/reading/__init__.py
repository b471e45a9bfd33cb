"""How fast this package reads, against today's ways at their best tuning and against what the network allows.

Seven units of work, from the headers of one file to the tables of a thousand, are done by this package through its
public functions, by its peers, and by a client that does nothing but receive bytes over raw sockets. All of them read
from one server on loopback that has the latency and the bandwidths of a link, and is no bottleneck.

``python -m benchmarks.reading --help`` tells how it is run.

=============  ======================================================================================================
``server``     the server, a program in C, and its control
``files``      what is read: files of true size and structure, made once
``ours``       the work as this package does it
``peers``      the work as others do it (``one_file``, ``many_files`` and ``whole_file`` of them)
``floor``      the same bytes over raw sockets, and what arithmetic says of them
``units``      which ways each unit of work has, and what is demanded of ours
``worker``     a way in a process of its own
``measure``    the ways of a unit in alternating order, and whether they give the same
``scaling``    cost against the number of files and against latency
``gates``      whether what is demanded is met
``page``       the page of the documentation, with ``plots``
=============  ======================================================================================================
"""
