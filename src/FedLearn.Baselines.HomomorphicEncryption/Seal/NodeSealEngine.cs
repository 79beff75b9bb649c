using System.Buffers.Binary;
using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading.Channels;
using FedLearn.Diagnostics;

namespace FedLearn.Baselines.HomomorphicEncryption;

/// <summary>SEAL in a Node.js process of its own (worker.mjs), by frames over its standard input and output. Many requests may be outstanding: one task
/// writes them in the order of issue, one reads the replies, which come in that order.</summary>
/// <remarks>Requests hold on to the caller's memory, which must not change before their tasks end; at most <see cref="Window"/> frames are in the pipe and the
/// worker at a time. Once the worker has ended or broken a frame, every pending and later call fails (FL6201).</remarks>
internal sealed class NodeSealEngine : ISealEngine
{
    internal const string SetupCommand = "eng/setup.sh he", Folder = "seal-worker", Script = "worker.mjs", Variable = "FEDLEARN_SEAL_WORKER";
    private const string Place = "SEAL's worker process";
    // WebAssembly addresses 4 GB, and a plaintext takes 131 kB of them: measured, 31,464 are encoded and the next one is refused.
    private const int Plaintexts = 31_000;
    private const int Window = 32, HeadBytes = 16, LongestReply = 1 << 20;

    /// <summary>What shells and .NET add to the signal that ended a process.</summary>
    private const int SignalBase = 128;

    private enum Operation
    {
        CreateKeys = 1,
        UsePublicKey,
        Encrypt,
        Encode,
        Save,
        Load,
        Add,
        InnerProduct,
        Decrypt,
        Release,
    }

    private enum Code
    {
        Done,
        Failed,
        Missing,
    }

    // No reply comes to a request without a result.
    private sealed record Request(uint Id, Operation Operation, ReadOnlyMemory<byte> Head, ReadOnlyMemory<byte> Body, TaskCompletionSource<byte[]>? Result);

    private readonly Lock _lock = new();
    private readonly Process _process;
    private readonly Queue<Request> _pending = new();
    private readonly Channel<Request> _requests = Channel.CreateUnbounded<Request>(new UnboundedChannelOptions { SingleReader = true });
    private readonly SemaphoreSlim _window = new(Window);
    private readonly Task _writing, _reading, _errors;
    private InternalFailureException? _fault;
    private uint _lastId;
    private bool _disposed;

    private NodeSealEngine(Process process, Task errors, string name)
    {
        (_process, _errors, Name) = (process, errors, name);
        _reading = Task.Run(ReadAsync);
        _writing = Task.Run(WriteAsync);
    }

    public string Name { get; }

    public int MostPlaintexts => Plaintexts;

    internal int ProcessId => _process.Id;

    /// <summary>Starts a worker from the folder that FEDLEARN_SEAL_WORKER names, else from <c>seal-worker</c> beside this assembly or the program, else from
    /// the checkout that holds the program.</summary>
    /// <exception cref="InternalFailureException">FL6200: Node.js, node-seal or worker.mjs is missing. FL6201: the worker ended.</exception>
    internal static Task<ISealEngine> StartAsync(CancellationToken cancellationToken)
    {
        string? assemblyFolder = Path.GetDirectoryName(typeof(NodeSealEngine).Assembly.Location);
        return StartAsync("node", Folders(Environment.GetEnvironmentVariable(Variable), AppContext.BaseDirectory, assemblyFolder), cancellationToken);
    }

    /// <summary>Folders in which worker.mjs and node-seal are looked for, in this order.</summary>
    internal static IReadOnlyList<string> Folders(string? configured, string baseFolder, string? assemblyFolder)
    {
        if (!string.IsNullOrEmpty(configured))
            return [configured];
        List<string> folders = [Path.Combine(baseFolder, Folder)];
        if (!string.IsNullOrEmpty(assemblyFolder))
            folders.Add(Path.Combine(assemblyFolder, Folder));
        for (DirectoryInfo? root = new(baseFolder); root is not null; root = root.Parent)
            if (File.Exists(Path.Combine(root.FullName, "FedLearn.sln")))
            {
                folders.Add(Path.Combine(root.FullName, "src", "FedLearn.Baselines.HomomorphicEncryption", "Seal", "worker"));
                folders.Add(Path.Combine(root.FullName, "build", Folder));
            }
        return folders;
    }

    internal static async Task<ISealEngine> StartAsync(string node, IReadOnlyList<string> folders, CancellationToken cancellationToken)
    {
        string script = folders.Select(folder => Path.GetFullPath(Path.Combine(folder, Script))).FirstOrDefault(File.Exists)
            ?? throw Missing($"The worker's file {Script} is in none of its folders.");
        var start = new ProcessStartInfo(node) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false, CreateNoWindow = true };
        foreach (string argument in folders.Select(Path.GetFullPath).Prepend(script))
            start.ArgumentList.Add(argument);
        Process process;
        try
        {
            process = Process.Start(start) ?? throw new InvalidOperationException("No process was started.");
        }
        catch (Win32Exception e)
        {
            throw Missing("Node.js is not on this machine, or not in the path.", e);
        }

        // What the worker prints about itself is read so that it does not block, and dropped.
        Task errors = process.StandardError.BaseStream.CopyToAsync(Stream.Null, CancellationToken.None);
        try
        {
            (_, uint code, byte[] payload) = await ReadFrameAsync(process.StandardOutput.BaseStream, cancellationToken).ConfigureAwait(false) ?? throw Ended(process);
            string text = Encoding.UTF8.GetString(payload);
            return code switch
            {
                (uint)Code.Done => new NodeSealEngine(process, errors, text),
                (uint)Code.Missing => throw Missing($"{text}."),
                _ => throw new InternalFailureException(HeErrors.WorkerEnded, Place, "It broke its protocol.", "Report it."),
            };
        }
        catch (Exception e)
        {
            Kill(process);
            process.Dispose();
            if (e is IOException or InvalidDataException)
                throw new InternalFailureException(HeErrors.WorkerEnded, Place, "It ended as it started.", "Start again; see whether node runs at all.", e);
            throw;
        }
    }

    public Task<byte[]> CreateKeysAsync(CancellationToken cancellationToken) => SendAsync(Operation.CreateKeys, default, default, cancellationToken);

    public Task UsePublicKeyAsync(ReadOnlyMemory<byte> key, CancellationToken cancellationToken) => SendAsync(Operation.UsePublicKey, default, key, cancellationToken);

    public Task<int> EncryptAsync(ReadOnlyMemory<double> block, double scale, CancellationToken cancellationToken) =>
        SendForHandleAsync(Operation.Encrypt, Scale(scale), Bytes(block), cancellationToken);

    public Task<int> EncodeAsync(ReadOnlyMemory<double> block, double scale, CancellationToken cancellationToken) =>
        SendForHandleAsync(Operation.Encode, Scale(scale), Bytes(block), cancellationToken);

    public Task<byte[]> SaveAsync(int ciphertext, CancellationToken cancellationToken) => SendAsync(Operation.Save, Integers([ciphertext], []), default, cancellationToken);

    public Task<int> LoadAsync(ReadOnlyMemory<byte> ciphertext, CancellationToken cancellationToken) => SendForHandleAsync(Operation.Load, default, ciphertext, cancellationToken);

    public Task<int> AddAsync(int first, int second, CancellationToken cancellationToken) =>
        SendForHandleAsync(Operation.Add, Integers([first, second], []), default, cancellationToken);

    public Task<byte[]> InnerProductAsync(ReadOnlyMemory<int> ciphertexts, ReadOnlyMemory<int> plaintexts, CancellationToken cancellationToken)
    {
        if (ciphertexts.Length != plaintexts.Length || ciphertexts.IsEmpty)
            throw new ArgumentException("There are not as many plaintexts as ciphertexts.", nameof(plaintexts));
        return SendAsync(Operation.InnerProduct, Integers(ciphertexts.Span, plaintexts.Span), default, cancellationToken);
    }

    public Task<byte[]> DecryptAsync(ReadOnlyMemory<byte> ciphertext, CancellationToken cancellationToken) => SendAsync(Operation.Decrypt, default, ciphertext, cancellationToken);

    public void Release(ReadOnlyMemory<int> ciphertexts, ReadOnlyMemory<int> plaintexts)
    {
        lock (_lock)
            if (_fault is null && !_disposed)
                _requests.Writer.TryWrite(new Request(0, Operation.Release, Integers([ciphertexts.Length, .. ciphertexts.Span], plaintexts.Span), default, null));
    }

    public async ValueTask DisposeAsync()
    {
        lock (_lock)
        {
            if (_disposed)
                return;
            _disposed = true;
            EngineMemory.Count(_process); // while it runs: an ended process has no figures
            _requests.Writer.TryComplete();
        }

        // The writer ends the worker's input behind the last request, which ends the worker; calls that nobody awaits any longer are not worth waiting long for.
        using (var patience = new CancellationTokenSource(TimeSpan.FromSeconds(5)))
            try
            {
                await _process.WaitForExitAsync(patience.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                Kill(_process);
            }
        await Task.WhenAll(_writing, _reading, _errors).ConfigureAwait(false);
        _process.Dispose();
        _window.Dispose();
    }

    private async Task<int> SendForHandleAsync(Operation operation, byte[]? head, ReadOnlyMemory<byte> body, CancellationToken cancellationToken)
    {
        byte[] reply = await SendAsync(operation, head, body, cancellationToken).ConfigureAwait(false);
        return reply.Length == 4 ? BinaryPrimitives.ReadInt32LittleEndian(reply) : throw Fail("It sent a reply of a wrong length.");
    }

    private async Task<byte[]> SendAsync(Operation operation, byte[]? head, ReadOnlyMemory<byte> body, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var result = new TaskCompletionSource<byte[]>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_fault is { } fault)
                throw Again(fault);
            var request = new Request(++_lastId, operation, head, body, result);
            _pending.Enqueue(request);
            _requests.Writer.TryWrite(request);
        }

        using (cancellationToken.UnsafeRegister(static (state, token) => ((TaskCompletionSource<byte[]>)state!).TrySetCanceled(token), result))
            return await result.Task.ConfigureAwait(false);
    }

    private async Task WriteAsync()
    {
        Stream output = _process.StandardInput.BaseStream;
        byte[] head = new byte[HeadBytes];
        try
        {
            await foreach (Request request in _requests.Reader.ReadAllAsync().ConfigureAwait(false))
            {
                if (request.Result is not null)
                    await _window.WaitAsync().ConfigureAwait(false);
                BinaryPrimitives.WriteInt32LittleEndian(head, checked(request.Head.Length + request.Body.Length));
                BinaryPrimitives.WriteUInt32LittleEndian(head.AsSpan(4), request.Id);
                BinaryPrimitives.WriteUInt32LittleEndian(head.AsSpan(8), (uint)request.Operation);
                await output.WriteAsync(head).ConfigureAwait(false);
                await output.WriteAsync(request.Head).ConfigureAwait(false);
                await output.WriteAsync(request.Body).ConfigureAwait(false);
            }

            await output.FlushAsync().ConfigureAwait(false);
            output.Close();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            Fail(EndedText(_process));
        }
    }

    private async Task ReadAsync()
    {
        Stream input = _process.StandardOutput.BaseStream;
        try
        {
            while (await ReadFrameAsync(input, CancellationToken.None).ConfigureAwait(false) is var (id, code, payload))
            {
                Request? request;
                lock (_lock)
                {
                    if (!_pending.TryPeek(out request) || request.Id != id || code > (uint)Code.Failed)
                        throw new InvalidDataException("A reply to no request.");
                    _pending.Dequeue();
                }

                _window.Release();
                if (code == (uint)Code.Failed)
                    request.Result!.TrySetException(new InternalFailureException(HeErrors.SealFailed, $"SEAL, {request.Operation}", $"SEAL refused: {Encoding.UTF8.GetString(payload)}.",
                        "If it is short of memory, use more workers or fewer columns; else report it."));
                // Nobody waits for the handle any longer.
                else if (!request.Result!.TrySetResult(payload) && payload.Length == 4)
                {
                    int[] handle = [BinaryPrimitives.ReadInt32LittleEndian(payload)];
                    Release(request.Operation == Operation.Encode ? default : handle, request.Operation == Operation.Encode ? handle : default);
                }
            }

            Fail(EndedText(_process));
        }
        catch (IOException)
        {
            // Killed in the midst of a frame.
            Fail(EndedText(_process));
        }
        catch (InvalidDataException)
        {
            Fail("It broke its protocol.");
        }
    }

    /// <summary>Ends the worker and fails what waits and what comes.</summary>
    private InternalFailureException Fail(string cause)
    {
        Request[] pending;
        InternalFailureException fault;
        lock (_lock)
        {
            fault = _fault ??= new InternalFailureException(HeErrors.WorkerEnded, Place, cause, "Start the job again; if it ends again, see whether the machine is short of memory.");
            pending = [.. _pending];
            _pending.Clear();
            _requests.Writer.TryComplete();
        }

        Kill(_process);
        foreach (Request request in pending)
            request.Result?.TrySetException(Again(fault));
        // The writer may wait for a place that no reply will free.
        if (pending.Length > 0)
            _window.Release(pending.Length);
        return Again(fault);
    }

    private static InternalFailureException Again(InternalFailureException fault) => new(fault.Id, fault.Place, fault.Cause, fault.Remedy, fault);

    /// <summary>The next frame, or null where the stream ends between frames.</summary>
    private static async Task<(uint Id, uint Code, byte[] Payload)?> ReadFrameAsync(Stream input, CancellationToken cancellationToken)
    {
        byte[] head = new byte[HeadBytes];
        int count = await input.ReadAtLeastAsync(head, HeadBytes, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
        if (count == 0)
            return null;
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(head);
        if (count < HeadBytes)
            throw new EndOfStreamException();
        if (length > LongestReply || BinaryPrimitives.ReadUInt32LittleEndian(head.AsSpan(12)) != 0)
            throw new InvalidDataException("No frame.");
        byte[] payload = new byte[length];
        await input.ReadExactlyAsync(payload, cancellationToken).ConfigureAwait(false);
        return (BinaryPrimitives.ReadUInt32LittleEndian(head.AsSpan(4)), BinaryPrimitives.ReadUInt32LittleEndian(head.AsSpan(8)), payload);
    }

    private static void Kill(Process process)
    {
        try
        {
            process.Kill();
        }
        catch (Exception e) when (e is InvalidOperationException or Win32Exception or NotSupportedException)
        {
            // It has ended already.
        }
    }

    private static InternalFailureException Ended(Process process) => new(HeErrors.WorkerEnded, Place, EndedText(process), "Start again; see whether node runs at all.");

    // The streams close a moment before the process is gone.
    private static string EndedText(Process process) => !process.WaitForExit(1000) ? "It closed its output."
        : process.ExitCode > SignalBase && !OperatingSystem.IsWindows() ? $"Its process was ended by signal {process.ExitCode - SignalBase}." : $"Its process ended with exit code {process.ExitCode}.";

    private static InternalFailureException Missing(string cause, Exception? inner = null) => new(HeErrors.SealMissing, "SEAL on Node.js", cause,
        $"Install Node.js 20 and run {SetupCommand}; elsewhere run npm ci in the folder {Folder} beside the program, or name a folder where that was done in {Variable}.", inner);

    private static byte[] Scale(double scale) => BitConverter.IsLittleEndian ? BitConverter.GetBytes(scale) : throw new PlatformNotSupportedException("Little-endian machines only.");

    private static byte[] Integers(ReadOnlySpan<int> first, ReadOnlySpan<int> second) => [.. MemoryMarshal.AsBytes(first), .. MemoryMarshal.AsBytes(second)];

    private static ReadOnlyMemory<byte> Bytes(ReadOnlyMemory<double> numbers) => new DoubleBytes(numbers).Memory;

    /// <summary>Numbers as the bytes they are, without a copy.</summary>
    private sealed class DoubleBytes(ReadOnlyMemory<double> numbers) : System.Buffers.MemoryManager<byte>
    {
        public override Span<byte> GetSpan() => MemoryMarshal.AsBytes(MemoryMarshal.AsMemory(numbers).Span);

        public override System.Buffers.MemoryHandle Pin(int elementIndex = 0)
        {
            System.Buffers.MemoryHandle handle = numbers.Pin();
            unsafe
            {
                return new System.Buffers.MemoryHandle((byte*)handle.Pointer + elementIndex, default, new Unpinning(handle));
            }
        }

        public override void Unpin()
        {
        }

        protected override void Dispose(bool disposing)
        {
        }

        // Keeps the numbers' own handle until the bytes' one is disposed of.
        private sealed class Unpinning(System.Buffers.MemoryHandle handle) : System.Buffers.IPinnable
        {
            public System.Buffers.MemoryHandle Pin(int elementIndex) => throw new NotSupportedException();

            public void Unpin() => handle.Dispose();
        }
    }
}
