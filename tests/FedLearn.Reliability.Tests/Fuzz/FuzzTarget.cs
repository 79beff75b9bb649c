using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc.Rpc;

namespace FedLearn.Reliability.Tests.Fuzz;

/// <summary>What became of an input.</summary>
/// <param name="Id">Id of the error that refused it; null for one that was accepted.</param>
internal readonly record struct FuzzOutcome(string? Id)
{
    public static readonly FuzzOutcome Accepted = new(null);
}

/// <summary>Something that reads bytes from outside. A new target is one small class: a name, seeds, a mutator and the reading.</summary>
/// <param name="name">Name: lower case and hyphens; also the folder of its seeds, and the beginning of its regressions' names.</param>
/// <param name="fastCases">Cases of the fast tier; those of all targets add up to 100,000.</param>
internal abstract class FuzzTarget(string name, int fastCases)
{
    private readonly Lazy<IReadOnlyList<byte[]>> _seeds = new(() => [.. FuzzFiles.Seeds(name)]);

    public string Name { get; } = name;

    public int FastCases { get; } = fastCases;

    /// <summary>Legal inputs, or nearly so: those of <c>corpus/NAME</c> and <see cref="MadeSeeds"/>, in a fixed order.</summary>
    public IReadOnlyList<byte[]> Seeds => field ??= [.. _seeds.Value, .. MadeSeeds()];

    /// <summary>Bytes that reading an input may allocate: a constant and so many times its length. What is above lets a small message take a machine's memory.</summary>
    public virtual long AllocationLimit(int length) => (4L << 20) + 200L * length;

    /// <summary>An input of its own for one case.</summary>
    public abstract byte[] Make(FuzzRandom random);

    /// <summary>Reads an input as the product does, and uses what came out of it. Throws what the product throws.</summary>
    /// <param name="input">The input.</param>
    /// <param name="folder">A folder of the calling thread, for targets that read files. Its files stay for the next case.</param>
    protected abstract void Read(byte[] input, string folder);

    /// <summary>Seeds that are made by code.</summary>
    protected virtual IEnumerable<byte[]> MadeSeeds() => [];

    /// <summary>Reads an input: accepted, refused with an id, or an exception that is neither, which is a crash.</summary>
    /// <exception cref="FuzzCrashException">Anything was thrown that has no error id.</exception>
    public FuzzOutcome Run(byte[] input, string folder)
    {
        try
        {
            Read(input, folder);
            return FuzzOutcome.Accepted;
        }
        catch (FedLearnException e)
        {
            return new FuzzOutcome(e.Id);
        }
        catch (RpcException e) when (HeaderText.IsErrorId(e.Status.ErrorId))
        {
            return new FuzzOutcome(e.Status.ErrorId);
        }
        catch (Exception e)
        {
            throw new FuzzCrashException($"threw {e.GetType().Name} without an error id: {e.Message}", e);
        }
    }

    public override string ToString() => Name;

    protected static void Require(bool holds, string what)
    {
        if (!holds)
            throw new InvalidOperationException(what);
    }
}

/// <summary>An input ended neither accepted nor refused with an id.</summary>
internal sealed class FuzzCrashException(string message, Exception? inner = null) : Exception(message, inner);
